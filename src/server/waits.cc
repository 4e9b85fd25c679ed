#include "server/waits.h"

#include "server/group.h"
#include "server/replication.h"
#include "server/server.h"

namespace quoll::server {

bool Waits::met(const Session& session, const Need& need) const {
  const Replicas& replicas = replication_.replicas();
  const uint64_t offset = session.write_offset();
  if (const ReplicaGroup* group = server_.group()) {
    const size_t members = group->members_with(offset, need.files);
    return static_cast<int64_t>(members) >= need.replicas &&
           (need.local == 0 || group->on_own_disk(offset));
  }
  const size_t reached = need.files ? replicas.durable(offset) : replicas.acked(offset);
  if (static_cast<int64_t>(reached) < need.replicas) return false;
  if (need.local == 0) return true;
  std::optional<store::Seq> durable = server_.persistence().durable_seq();
  return durable && *durable >= session.write_seq();
}

void Waits::reply(Session& session, bool files) {
  if (const ReplicaGroup* group = server_.group()) {
    const uint64_t entry = session.write_offset();
    const auto members = static_cast<int64_t>(group->members_with(entry, files));
    if (!files) return session.reply().integer(members);
    session.reply().array(2);
    session.reply().integer(group->on_own_disk(entry) ? 1 : 0);
    return session.reply().integer(members);
  }
  const Replicas& replicas = replication_.replicas();
  const uint64_t offset = session.write_offset();
  if (!files) return session.reply().integer(static_cast<int64_t>(replicas.acked(offset)));
  std::optional<store::Seq> durable = server_.persistence().durable_seq();
  session.reply().array(2);
  session.reply().integer(durable && *durable >= session.write_seq() ? 1 : 0);
  session.reply().integer(static_cast<int64_t>(replicas.durable(offset)));
}

void Waits::wait(Session& session, const Need& need, base::Millis timeout_ms) {
  if (ReplicaGroup* group = server_.group(); group && need.files)
    group->want_on_disks(session.write_offset());
  if (met(session, need) || session.in_exec) return reply(session, need.files);
  waiters_.push_back({session.id, need});
  const auto give_up = [](bool files) -> Session::GiveUp {
    if (files)
      return [](Session& one) {
        one.server().replication().waits().forget(one);
        one.server().replication().waits().reply(one, true);
      };
    return [](Session& one) {
      one.server().replication().waits().forget(one);
      one.server().replication().waits().reply(one, false);
    };
  };
  session.block(timeout_ms, give_up(need.files));
  if (need.replicas > 0) replication_.ask_for_acks();
}

void Waits::forget(const Session& session) {
  std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.session == session.id; });
}

void Waits::check() {
  if (waiters_.empty()) return;
  std::vector<SessionId> ready;
  for (const Waiter& waiter : waiters_) {
    const Session* session = server_.find_session(waiter.session);
    if (!session || met(*session, waiter.need)) ready.push_back(waiter.session);
  }
  for (SessionId id : ready)
    if (Session* session = server_.find_session(id)) session->unblock();
}

}  // namespace quoll::server
