#include "cluster/replica_feed.h"

#include "cluster/replica_dialect.h"
#include "persist/aof_encoder.h"

namespace quoll::cluster {

using persist::AofEncoder;

void ReplicaFeed::open(uint64_t offset) {
  backlog_.restart(offset);
  open_ = true;
  foreign_end_ = 0;
  forget_database();
  listen(encoding_);
}

void ReplicaFeed::close() {
  offset_ = offset();
  backlog_.restart(offset_);
  open_ = false;
  foreign_end_ = 0;
  listen(false);
}

void ReplicaFeed::set_encoding(bool on) {
  encoding_ = on;
  forget_database();
  listen(open_ && on);
}

void ReplicaFeed::select(store::DbIndex database) {
  if (database_ == database) return;
  AofEncoder::append_select(database, out_);
  database_ = database;
}

void ReplicaFeed::write(store::DbIndex database, base::Args line) {
  select(database);
  AofEncoder::append_command(line, out_);
}

void ReplicaFeed::hand_over() {
  backlog_.append(out_);
  out_.clear();
}

void ReplicaFeed::absorb(const store::Commit& commit) {
  // What a replica itself changed, or a file held, is nobody else's.
  if (commit.origin == store::Origin::load || commit.origin == store::Origin::replica) return;
  size_t lines = message_count_;
  bool foreign = false;
  const store::Effect* first = nullptr;
  for (const store::Effect& effect : commit.effects) {
    if (!(effect.targets & store::kToReplicas)) continue;
    if (!first) first = &effect;
    Dialect dialect = dialect_of(effect.args);
    lines += dialect == Dialect::several ? 2 : 1;
    if (dialect != Dialect::foreign) continue;
    foreign = true;
    foreign_command_ = effect.args[0];
  }
  if (lines == 0) return;
  if (first) select(first->db);
  // Keys that expire or are evicted go one by one, as in Redis.
  const bool one_by_one =
      commit.origin == store::Origin::expiry || commit.origin == store::Origin::eviction;
  const bool framed = lines > 1 && !one_by_one;
  if (framed) out_ += "*1\r\n$5\r\nMULTI\r\n";
  for (const store::Effect& effect : commit.effects)
    if (effect.targets & store::kToReplicas)
      translate(effect.args, [&](base::Args line) { write(effect.db, line); });
  out_ += messages_;
  messages_.clear();
  message_count_ = 0;
  if (framed) out_ += "*1\r\n$4\r\nEXEC\r\n";
  hand_over();
  if (foreign) foreign_end_ = offset();
}

void ReplicaFeed::erase(store::DbIndex database, base::Bytes key) {
  if (!listening()) return;
  const base::Bytes line[] = {"DEL", key};
  write(database, line);
  hand_over();
}

void ReplicaFeed::publish(base::Args line, bool in_commit) {
  if (!listening()) return;
  if (in_commit) {
    AofEncoder::append_command(line, messages_);
    ++message_count_;
    return;
  }
  flush_messages();
  AofEncoder::append_command(line, out_);
  hand_over();
}

void ReplicaFeed::flush_messages() {
  if (message_count_ == 0) return;
  if (message_count_ > 1) out_ += "*1\r\n$5\r\nMULTI\r\n";
  out_ += messages_;
  if (message_count_ > 1) out_ += "*1\r\n$4\r\nEXEC\r\n";
  messages_.clear();
  message_count_ = 0;
  hand_over();
}

void ReplicaFeed::ping() {
  constexpr base::Bytes kLine[] = {"PING"};
  publish(kLine, false);
}

void ReplicaFeed::ask_for_acks() {
  constexpr base::Bytes kLine[] = {"REPLCONF", "GETACK", "*"};
  publish(kLine, false);
}

}  // namespace quoll::cluster
