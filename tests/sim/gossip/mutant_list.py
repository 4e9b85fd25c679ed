"""The rules of the gossip, each broken once by exact replacements in its sources: what gossip-sim must
see. (Rules of time and of limits are told by tests/unit/cluster/gossip_core_test.cc.)

A mutant: its name, the rule it breaks, and (file of src/cluster, text as it is, text instead) for
every place. A text that is not found exactly once is an error: the list follows the sources.
"""

CORE, FRAMES, QUEUE = 'gossip_core.cc', 'gossip_frames.cc', 'news_queue.cc'

MUTANTS = [
    # --- who lives
    ('nobody-refutes', 'who hears that it is suspected raises its incarnation', [
        (CORE, '  incarnation_ = std::min(news.incarnation + 1, kIncarnationMax);\n', '')]),
    ('nobody-asks-others', 'others ask for one that does not answer', [
        (CORE, 'some_alive(kAskedPerProbe, probe_.target)', 'some_alive(0, probe_.target)')]),
    ('failed-at-once', 'a suspicion lasts before it is a death', [
        (CORE, 'if (member.fails_at <= now_)', 'if (true)')]),
    ('old-suspicions-count', 'a suspicion of an earlier incarnation is void', [
        (CORE, '  if (news.incarnation < member.incarnation) return;\n'
               '  if (news.incarnation == member.incarnation && member.state > '
               'NodeState::suspect) return;\n', '')]),
    ('old-ends-count', 'a death of an earlier incarnation is void', [
        (CORE, '  if (news.incarnation < member.incarnation) return;\n'
               '  if (news.incarnation == member.incarnation && news.state <= member.state) '
               'return;\n', '')]),
    ('suspects-are-not-told', 'who is suspected is told so in what it is sent', [
        (CORE, 'member && member->state != NodeState::alive)', 'member && false)')]),
    ('failed-are-never-asked', 'failed nodes are asked now and then', [
        (CORE, 'if (away == 0) return;', 'return;')]),
    ('farewell-in-passing', 'who leaves says so in everything it says', [
        (CORE, '  if (leaving_)\n    datagram.news.push_back',
         '  if (false)\n    datagram.news.push_back')]),
    # --- how it gets about
    ('news-are-told-once', 'news are told as often as it takes to reach everybody', [
        (QUEUE, 'if (times + 1 < tellings_max)', 'if (times + 1 < std::min(tellings_max, 1u))')]),
    ('addresses-do-not-change', 'the address of the higher incarnation counts', [
        (CORE, 'if (news.address && news.incarnation > member.address_incarnation) {',
         'if (false) {')]),
    ('earlier-lives-are-not-remembered', 'a node goes on from what others remember of it', [
        (CORE, 'if (self.incarnation < incarnation_ + (same ? 1 : 0)) return;', 'return;')]),
    # --- who belongs
    ('forgotten-are-heard', 'who is in no topology as new as its own is not heard', [
        (CORE, '  if (datagram.topology > topology_) return true;\n', '  return true;\n')]),
    ('other-clusters-are-heard', 'what another cluster says is not heard', [
        (FRAMES, 'datagram.cluster != cluster', 'cluster == 0')]),
    ('topologies-are-not-asked-for', 'who has an older topology asks for the newer', [
        (CORE, '  actions_.pull = {datagram.from, datagram.topology};\n', '')]),
]
