"""The rules of a replica group, each broken once by exact replacements in its sources.

A mutant: its name, the rule it breaks, and (file of src/cluster, text as it is, text instead) for
every place. A text that is not found exactly once is an error: the list follows the sources.
"""

CORE, HEADER, QUORUM = 'group_core.cc', 'group_core.h', 'quorum.h'
ELECTION, READS = 'group_core_election.cc', 'group_core_reads.cc'
CHANGES, SHAPE, SHAPE_HEADER = 'group_core_shape.cc', 'group_shape.cc', 'group_shape.h'

MUTANTS = [
    # --- acknowledgements and quorums
    ('acknowledged-before-written', 'an entry counts only when it is on disk', [
        (CORE, 'return group_.durability == Durability::fsync ? synced_ : written_;',
         'return log_.last().index;')]),
    ('acknowledged-before-synced', 'with durability fsync an entry counts when it is synced', [
        (CORE, 'return group_.durability == Durability::fsync ? synced_ : written_;',
         'return written_;')]),
    ('acknowledged-by-one-less', 'W members have an entry before it is committed', [
        (SHAPE_HEADER, 'unsigned write_quorum() const { return write.of(size()); }',
         'unsigned write_quorum() const { return write.of(size()) - (write.of(size()) > 1); }'),
        (SHAPE_HEADER, 'cluster::election_quorum(size(), write_quorum(), read_quorum());',
         'cluster::election_quorum(size(), write.of(size()), read_quorum());')]),
    ('elected-by-a-majority', 'as many elect as meet every W and every R', [
        (QUORUM, 'return std::max(n / 2 + 1, n - std::min(write, read) + 1);',
         'return n / 2 + 1 + 0 * (write + read);')]),
    ('elected-by-half', 'two elections share a voter', [
        (QUORUM, 'return std::max(n / 2 + 1, n - std::min(write, read) + 1);',
         'return std::max(n / 2, n - std::min(write, read));')]),
    # --- a new leader
    ('older-epochs-committed-by-counting', 'only an entry of its own epoch commits those before', [
        (CORE, 'if (reached > commit_ && log_.epoch_at(reached) == state_.epoch)',
         'if (reached > commit_)')]),
    ('serves-at-once', 'a leader serves when its NOOP is committed and applied', [
        (HEADER, 'return leads() && commit_ >= noop_ && applied_ >= noop_ && !lacks_data();',
         'return leads() && !lacks_data();'),
        (CORE, 'QUOLL_CHECK(serves() && applied_ == log_.last().index);', '')]),
    ('progress-of-another-epoch', 'what members have is learnt anew by every leader', [
        (ELECTION, 'peer.match = peer.commit_told = 0;', 'peer.commit_told = 0;')]),
    ('rounds-of-another-epoch', 'rounds are answered anew to every leader', [
        (ELECTION, 'peer.round = peer.round_sent = peer.amnesia = peer.rejoin_proposed = 0;',
         'peer.round_sent = peer.amnesia = peer.rejoin_proposed = 0;')]),
    # --- reads
    ('reads-not-confirmed', 'a read is answered when R members say that the leader leads', [
        (HEADER, 'uint64_t confirmed_round() const { return confirmed_; }',
         'uint64_t confirmed_round() const { return UINT64_MAX; }')]),
    ('reads-confirmed-by-an-older-round', 'the round that confirms a read begins after it', [
        (READS, '  round_open_ = true;\n  return round_;',
         '  round_open_ = true;\n  return round_ - 1;')]),
    ('reads-confirmed-by-one-less', 'R members confirm a read', [
        (READS, 'return reached<uint64_t>(&Voters::read_quorum, [&]',
         'return reached<uint64_t>(&Voters::one_reader_less, [&]'),
        (SHAPE_HEADER, '  unsigned read_quorum() const {',
         '  unsigned one_reader_less() const { return read_quorum() - (read_quorum() > 1); }\n'
         '  unsigned read_quorum() const {')]),
    ('round-not-carried', 'a reply carries the round it answers', [
        (CORE, '  reply.round = reply_round_;\n', '')]),
    # --- the lease
    ('lease-longer-than-the-promise', 'the lease is over before any promise is', [
        (HEADER, 'return election_timeout_ms * 4 / 5 - kClockGrainMs;',
         'return election_timeout_ms * 2;')]),
    ('lease-from-the-answer', 'the lease counts from before its round was sent', [
        (READS, 'lease_from_ = sent_rounds_.front().at;', 'lease_from_ = now_;')]),
    ('lease-after-handing-on', 'who hands its part on has no lease any more', [
        (ELECTION, '    lease_released_ = true;\n    lease_from_.reset();\n', '')]),
    ('promise-ends-with-the-process', 'whoever begins is bound for a timeout', [
        (CORE, '  election_at_ = now_ + random_timeout();\n  bind();\n  begin_virgin();',
         '  election_at_ = now_ + random_timeout();\n  begin_virgin();')]),
    # --- votes
    ('vote-told-before-saved', 'epoch and vote are on disk before anybody hears of them', [
        (ELECTION, 'if (!saved()) return;  // told when it is', '')]),
    ('two-votes-per-epoch', 'one vote per epoch', [
        (ELECTION, 'const bool free = state_.vote == kNoMember || state_.vote == from;',
         'const bool free = true;')]),
    ('vote-for-an-older-log', 'no vote for a log that is older than one\'s own', [
        (ELECTION, 'message.epoch > state_.epoch && message.at >= log_.last();',
         'message.epoch > state_.epoch;'),
        (ELECTION, 'may_vote() && free &&\n      message.at >= log_.last()) {',
         'may_vote() && free) {')]),
    ('vote-by-length-alone', 'the newer log is the one of the higher epoch', [
        (ELECTION, 'message.epoch > state_.epoch && message.at >= log_.last();',
         'message.epoch > state_.epoch && message.at.index >= log_.last().index;'),
        (ELECTION, 'may_vote() && free &&\n      message.at >= log_.last()) {',
         'may_vote() && free &&\n      message.at.index >= log_.last().index) {')]),
    # --- who may have lost something
    ('amnesiacs-vote', 'who lost its memory does not vote', [
        (ELECTION, 'reply.flag = !led && may_vote() &&', 'reply.flag = !led && disk_works_ &&'),
        (ELECTION, 'role_ == Role::follower && may_vote() && free',
         'role_ == Role::follower && disk_works_ && free')]),
    ('amnesiacs-count', 'who lost its memory does not acknowledge', [
        (HEADER, 'return is_meant(m) && (m == group_.self || peers_[m].amnesia == 0);',
         'return is_meant(m);')]),
    ('readmitted-before-committed', 'a member is let in by a REJOIN that is committed', [
        (CORE, 'if (rejoin_at_ == 0 || commit_ < rejoin_at_ || counted() < rejoin_at_) return;',
         'if (rejoin_at_ == 0 || counted() < rejoin_at_) return;')]),
    ('empty-directory-is-whole', 'an empty directory counts as a loss unless all are empty', [
        (CORE, '  if (!all) return;\n', '')]),
    ('readmitted-at-once', 'a member is whole again when it has all up to its REJOIN', [
        (CORE, 'reply.number = state_.amnesia;', 'reply.number = 0;')]),
    # --- a follower's log
    ('conflict-kept', 'an entry that differs from the leader\'s is dropped', [
        (CORE, '    drop_behind(at.index - 1);\n', '    return;\n')]),
    ('entry-before-not-compared', 'an entry is taken only behind the one the leader has before', [
        (CORE, 'before.index <= commit_ || log_.epoch_at(before.index) == before.epoch;',
         'before.index <= log_.last().index;')]),
    ('commits-what-it-does-not-know', 'a follower commits what it knows to be the leader\'s', [
        (CORE, 'note_commit(std::min(message.index, known_));',
         'note_commit(std::min(message.index, log_.last().index));')]),
    ('known-over-an-epoch', 'what is known of a leader\'s log begins anew with every epoch', [
        (ELECTION, 'const bool anew = epoch > state_.epoch || role_ != Role::follower',
         'const bool anew = role_ != Role::follower')]),
    ('acknowledges-what-it-does-not-know', 'a follower acknowledges what is the leader\'s', [
        (CORE, 'std::min(known_, counted());', 'counted();')]),
    ('old-leader-obeyed', 'a leader of an older epoch is refused', [
        (CORE, '  if (message.epoch < state_.epoch)\n'
               '    return say(from, this->message(GroupMessage::Kind::append_reply));\n', '')]),
    ('dropped-data-kept', 'what was executed and dropped is undone', [
        (CORE, '  undone_ = std::min(undone_.value_or(index), index);\n'
               '  data_stands_ = false;\n}', '}')]),
    # --- all data
    ('all-data-taken-as-committed', 'data that came from a leader may not be committed', [
        (CORE, 'commit_ = std::max(commit_, std::min(commit, at.index));',
         'commit_ = std::max(commit_, commit == 0 ? commit : at.index);')]),
    ('contradiction-not-seen', 'who got data that a later leader lacks begins anew', [
        (CORE, 'return at.index > commit_ && at.index <= base.index && at != base;',
         'return at.index > commit_ && at.index <= base.index && at != base && false;')]),
    ('log-trimmed-beyond-a-sync', 'the log is kept from where all data were taken', [
        (CORE, 'if (peer.sync_from > 0) needed_after', 'if (false) needed_after')]),
    ('progress-kept-over-a-break', 'what a member has is learnt anew when it comes back', [
        (CORE, 'peer.rejoin_proposed = peer.match = peer.synced = peer.sync_told = 0;',
         'peer.rejoin_proposed = peer.synced = peer.sync_told = 0;')]),
    ('witness-serves', 'who has no data does not serve', [
        (HEADER, 'applied_ >= noop_ && !lacks_data();', 'applied_ >= noop_ && data_stands_;')]),
    # --- leadership ends
    ('leads-without-a-quorum', 'a leader that hears of too few steps down', [
        (ELECTION, '    if (!hears_quorums(now)) return become_follower(state_.epoch, kNoMember);\n',
         '')]),
    # --- the disk
    ('disk-trusted-after-a-failure', 'what a failed disk did not sync is written once more', [
        (CORE, '  handed_ = written_ = synced_ = ours ? durable.index : '
               'std::max(log_.base().index, covered);\n', '  (void)ours, (void)covered;\n')]),
    # --- the shape of the group
    ('joint-is-the-new-alone', 'a joint shape needs quorums of the old and of the new voters', [
        (SHAPE_HEADER, 'return holds(now) && (!next || holds(*next));',
         'return next ? holds(*next) : holds(now);')]),
    ('joint-is-the-old-alone', 'a joint shape needs quorums of the old and of the new voters', [
        (SHAPE_HEADER, 'return holds(now) && (!next || holds(*next));', 'return holds(now);')]),
    ('joint-commits-by-the-new-alone', 'W of the old and of the new voters commit', [
        (CORE, 'return reached<Index>(&Voters::write_quorum, [&](Member m) { return stored(m); });',
         'const Voters& voters = shape().last();\n'
         '  return reached_in<Index>(voters.places, voters.write_quorum(),'
         ' [&](Member m) { return stored(m); });')]),
    ('joint-elects-by-the-new-alone', 'Qe of the old and of the new voters elect', [
        (ELECTION, 'bool GroupCore::elected() const {\n  return shape().each_voters(',
         'bool GroupCore::elected() const {\n  return settled_shape(shape()).each_voters(')]),
    ('joint-settled-at-once', 'the new shape follows when the joint one is committed', [
        (CHANGES, 'commit_ < std::max(noop_, shapes_.back().at.index)', 'commit_ < noop_')]),
    ('shape-without-the-joint-one', 'voters change by a joint shape', [
        (CHANGES, 'append_shape(next.now == shape().now ? next : joint_shape(shape(), next));',
         'append_shape(next);')]),
    ('shape-in-force-when-committed', 'a shape is in force for who has its entry', [
        (HEADER, 'const GroupShape& shape() const { return shapes_.back().shape; }',
         'const GroupShape& shape() const { return known_at(commit_).shape; }'),
        (CORE, '  note_shape_committed();\n  readmit();\n',
         '  note_shape_committed();\n  look_who_is_meant();\n  readmit();\n')]),
    ('dropped-shape-kept', 'a shape is in force until its entry is dropped', [
        (CORE, '  drop_shapes_behind(index);\n', '')]),
    ('changed-before-an-own-entry', 'a leader changes the group once it has committed', [
        (CHANGES, 'if (!leads() || commit_ < noop_)', 'if (!leads())')]),
    ('learners-count', 'who learns does not acknowledge', [
        (HEADER, 'if ((places >> m & 1) && counts(m)) have[count++] = value(m);',
         'if (((places | fed_) >> m & 1) && counts(m)) have[count++] = value(m);')]),
    ('learners-elect', 'who learns does not elect', [
        (HEADER, 'if (m != group_.self && is_meant(m) && shape().votes(m)) visit(m);',
         'if (m != group_.self && is_meant(m)) visit(m);'),
        (ELECTION, 'std::popcount(votes_ & meant_ & voters.places)',
         'std::popcount(votes_ & meant_)')]),
    ('learners-stand-for-election', 'who does not vote is not elected', [
        (ELECTION, 'return intact() && disk_works_ && !placing_of_ && may_stand();',
         'return intact() && disk_works_;')]),
    ('leaver-does-not-stand', 'who leaves by a shape that is not committed may be needed', [
        (ELECTION, 'return intact() && disk_works_ && !placing_of_ && may_stand();',
         'return intact() && disk_works_ && shape().votes(group_.self);')]),
    ('old-leader-stays', 'a leader that votes no more hands its part on', [
        (ELECTION, '    if (leaving()) leave();\n', '')]),
    ('node-taken-for-another', 'answers count by place and node', [
        (SHAPE, 'return uses(member) && (places[member].id.empty() || id.empty() || '
                'places[member].id == id);', 'return uses(member) && id.size() < 99;')]),
    ('joins-as-if-nothing-was', 'who joins, or begins anew, counts when it is let in', [
        (CORE, 'if (intact() || !virgin() || !shape().votes(group_.self) || '
               '!is_meant(group_.self)) return;', 'if (intact() || !virgin()) return;')]),
    ('shape-not-saved', 'the last shape committed is saved', [
        (CHANGES, '  if (news) state_.shape = {known.at, encode_shape(known.shape)};\n', '')]),
    ('shape-not-saved-before-data', 'the shape of data that come is saved before they are', [
        (CHANGES, '  state_.arriving = {at, std::move(bytes)};\n', '')]),
    ('arriving-takes-the-place-of-the-base', 'a log that begins behind data keeps their shape', [
        (CHANGES, '  if (begun) state_.shape = std::move(state_.arriving);\n', '  (void)begun;\n')]),
    ('heard-while-data-are-placed', 'who puts data in place takes nothing of a later leader', [
        (CORE, '  if (placing_of_ && message.epoch > *placing_of_) return;  // it is asked again\n', '')]),
    # --- what the group says of its slots
    ('ledger-not-kept', 'what is remembered of the log is saved before that is cut off', [
        (HEADER, 'if (std::exchange(state_stale_, false) || saving_ > 0) change_state();', '')]),
    ('ledger-kept-when-nothing-is-saved', 'a state on its way to disk is not there yet', [
        (HEADER, 'if (std::exchange(state_stale_, false) || saving_ > 0) change_state();',
         'if (std::exchange(state_stale_, false)) change_state();')]),
    ('ledger-not-read-at-the-start', 'a ledger is in force for who has its entry', [
        (CHANGES, '      if (tells_shape(entry.header.kind)) add_shape(entry);\n',
         '      if (entry.header.kind == EntryKind::shape) add_shape(entry);\n')]),
    ('ledger-not-taken', 'a ledger is in force for who has its entry', [
        (CORE, 'if (tells_shape(entry.header.kind)) take_shape(entry);',
         'if (entry.header.kind == EntryKind::shape) take_shape(entry);')]),
    ('ledger-lost-by-a-change', 'a change of the group keeps its ledger', [
        (CHANGES, '  next.slots = shape().slots;\n', '')]),
    ('ledger-of-arriving-data-not-saved', 'what is known of data that come is on disk before', [
        (CHANGES, '    if (lower || state_stale_ || !saved()) change_state();\n', '')]),
    ('ledger-never-remembered', 'a ledger is saved with what else is', [
        (CHANGES, '    state_stale_ |= news;\n', '    (void)news;\n')]),
]
