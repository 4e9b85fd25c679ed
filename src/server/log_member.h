// LogMember: this server as a member of a group whose entries do not go into the store: those who
// hold the topology (topology_keeper.h), and witnesses. Drives the group's core with a log on disk
// and the connections to the other members.
//
//   entries -> log on disk, other members -> committed -> apply()
//   too far behind: data() of the leader -> take_data(), behind which the log begins anew
//
// Whoever joins a group that exists knows no shape of it; until it does, it talks with those that
// it was told of. Connections arrive at the port of the node's bus, and are handed to take().
//
// Cost: a tick is O(members); what the log costs (group_wal.h).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/check.h"
#include "cluster/group_core.h"
#include "cluster/group_links.h"
#include "cluster/group_wal.h"
#include "host/host.h"
#include "server/group_part.h"

namespace quoll::server {

constexpr base::Nanos kLogMemberTick = 20 * base::kNanosPerMilli;
constexpr size_t kLogMemberDataMax = size_t{256} << 20;  // bytes of all data, from a leader

class LogMember : public cluster::GroupWalEvents, public cluster::GroupLinksEvents {
 public:
  // `applied`: of the last entry whose outcome is known here; nothing: no outcome is wanted.
  LogMember(const host::Host& host, GroupPart part, std::optional<cluster::Position> applied);
  ~LogMember() override;

  // Reads the log; takes part from then on.
  void start(host::OnDone done);
  // Leadership is handed on, if we have it; the log is written and synced.
  void end(host::OnDone done);
  // It is closed, or could not be started.
  bool over() const { return over_; }
  // A connection of another member, and what it has sent so far.
  void take(std::unique_ptr<host::Peer> peer, base::Bytes received);
  // Nodes may be elsewhere.
  void whereabouts_changed() { links_due_ = true; }
  // With these, until our own shape knows who leads.
  void talk_to(const cluster::GroupShape& shape);
  void begin_turn_end();

  const GroupPart& part() const { return part_; }
  cluster::Member place() const { return part_.config.self; }
  uint64_t config_hash() const { return GroupPart::config_hash(part_.group_name); }
  // Somebody leads, as far as we know.
  bool led() const { return core_ && core_->leader() != cluster::kNoMember; }
  // Nothing: it is being read, or nobody has told us yet.
  const cluster::GroupShape* shape() const;
  const cluster::GroupCore* core() const { return core_.get(); }
  base::Result<> accept_loss();
  // The shape is settled, and means another node or none by our place.
  bool left_out() const;
  // Of the entry up to which everything has been applied.
  cluster::Position position() const { return applied_; }

  // cluster::GroupWalEvents
  void wal_written(cluster::Position upto) override;
  void wal_synced(cluster::Position upto) override;
  void wal_failed(const std::string& error) override;
  void wal_again(cluster::Position durable) override;
  void wal_state_failed(const std::string& error) override;
  // cluster::GroupLinksEvents
  void link_up(const cluster::Preamble& preamble) override;
  void link_down(cluster::Member member) override;
  bool link_frame(cluster::Member member, cluster::FrameType type, base::Bytes body) override;
  void link_trouble(const std::string& text) override;

 protected:
  // Everything that is committed: by each_committed(), or skip_committed().
  virtual void apply() = 0;
  // All data as of position(); nothing: there are none here.
  virtual std::optional<std::string> data() const = 0;
  // False: these are none. They are those as of position() from then on.
  virtual bool take_data(base::Bytes data) = 0;
  // As a follower: entries that we had counted as applied are gone.
  virtual void undone() {}

  // Entries that are committed and not applied yet, one after the other.
  template <class Visit>
  void each_committed(Visit&& visit) {
    while (applied_.index < core_->commit()) {
      cluster::Index upto;
      base::Bytes bytes = core_->log().slice(applied_.index, SIZE_MAX, upto);
      for (const cluster::Index end = std::min(upto, core_->commit()); applied_.index < end;) {
        cluster::Entry entry;
        QUOLL_CHECK(cluster::decode_entry(bytes, entry) == cluster::EntryFault::none);
        bytes.remove_prefix(entry.bytes);
        applied_ = entry.header.at;
        visit(entry);
      }
    }
    note_applied();
  }
  void skip_committed();
  // Entries up to here are wanted no more.
  void trim(cluster::Index upto);
  uint64_t log_bytes() const { return log_bytes_; }  // since trim()
  base::Millis steady_ms() const { return host_.clock.steady() / base::kNanosPerMilli; }

  host::Host host_;
  std::unique_ptr<cluster::GroupCore> core_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool ending_ = false;

 private:
  bool over_ = false;

  struct Incoming {  // all data, on their way to us
    cluster::Member from;
    cluster::Epoch epoch;
    cluster::Position at;
    cluster::GroupShape shape;
    std::string data;
    cluster::Index commit = 0;
    bool over = false;  // that was all
  };

  void log_read(cluster::GroupWal::Recovery recovery, const host::OnDone& done);
  void join(cluster::SavedState state);
  void schedule();
  void turn();
  void note_applied();
  void save_state(const host::Task& then = {});
  void follow_shape();
  void send(cluster::Member to, const cluster::GroupMessage& message);
  void send_all(cluster::Member to);
  bool incoming_begins(cluster::Member from, base::Bytes body);
  bool incoming_ends(base::Bytes body);
  bool refuse(cluster::Member from, const std::string& why);
  void install();

  GroupPart part_;
  cluster::Position applied_;
  bool wants_all_;  // every entry's outcome
  std::unique_ptr<cluster::GroupWal> wal_;
  std::unique_ptr<cluster::GroupLinks> links_;
  cluster::GroupLog recovered_;
  std::optional<cluster::GroupShape> shape_seen_;
  bool links_due_ = true;
  std::shared_ptr<Incoming> incoming_;
  uint64_t log_bytes_ = 0;
  host::TimerId timer_ = 0;
};

}  // namespace quoll::server
