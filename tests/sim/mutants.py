"""Builds the core of a replica group, and that of the gossip, with one rule broken at a time
(mutant_list.py beside each) and expects group-sim to see every one of them within its seeds, and
gossip-sim in its scenarios.

    make mutants                       all;  MUTANTS='NAME...' only these;  SEEDS=2000

The sources of a mutant are written to build/mutants/NAME and come before ours; the product itself
holds no switches. Per mutant: the seed or scenario, and what was seen. The last line is
`N passed, N failed`.
"""
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import typing

from gossip.mutant_list import MUTANTS as GOSSIP_MUTANTS
from group.mutant_list import MUTANTS as GROUP_MUTANTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = pathlib.Path(os.environ['OUT'])
COMPILE = shlex.split(os.environ['COMPILE'])
LIBS = shlex.split(os.environ['LIBS'])
SEEDS = int(os.environ.get('SEEDS', 2000))
SECONDS_MAX = 900  # of one mutant's seeds


def seen_by_groups(output):
    """(where, what) of the first failure in group-sim's output; None: it saw nothing."""
    seed = re.findall(r'^scripts/run-sim --group --seed (\d+)', output, re.M)
    if not seed:
        return None
    told = re.findall(r"^FAILED: (.*)|^==> .*?('.*') is not true", output, re.M)
    return f'seed {seed[0]}', ' '.join(part for part in told[0] if part) if told else 'it ended'


def seen_by_gossip(output):
    """The same in gossip-sim's."""
    told = re.search(r'^FAILED (\w+):.*\n +(.*)', output, re.M)
    return (told[1], told[2]) if told else None


class Subject(typing.NamedTuple):
    """Whose rules are broken, and who looks on."""
    name: str
    mutants: list
    sources: list  # under src/cluster, that read the headers
    arguments: list
    seen: typing.Callable

    @property
    def world(self):
        files = sorted((ROOT / 'tests/sim' / self.name).glob('*.cc'))
        return [str(file.relative_to(ROOT)) for file in files]


SUBJECTS = [
    Subject('group', GROUP_MUTANTS,
            ['group_core.cc', 'group_core_election.cc', 'group_core_reads.cc',
             'group_core_shape.cc', 'group_shape.cc'],
            ['--seed', '1', '--seeds', str(SEEDS), '--until-failure'],
            seen_by_groups),
    Subject('gossip', GOSSIP_MUTANTS, ['gossip_core.cc'], ['--until-failure'], seen_by_gossip),
]


def changed(name, replacements):
    """The changed files, by name under src/cluster."""
    texts = {}
    for file, old, new in replacements:
        text = texts.get(file) or (ROOT / 'src/cluster' / file).read_text()
        if text.count(old) != 1:
            sys.exit(f'mutants: {name}: {text.count(old)} places in {file} read: {old}')
        texts[file] = text.replace(old, new)
    return texts


def build(subject, name, texts):
    """Compiles what depends on the changed files, and links it with what does not."""
    folder = OUT / 'mutants' / name
    cluster = folder / 'src/cluster'
    cluster.mkdir(parents=True, exist_ok=True)
    for old in cluster.iterdir():
        old.unlink()
    for file, text in texts.items():
        (cluster / file).write_text(text)
    in_headers = any(file.endswith('.h') for file in texts)
    sources = {file for file in texts if file.endswith('.cc')}
    if in_headers:
        sources |= set(subject.sources)
    sources = [(cluster if file in texts else ROOT / 'src/cluster') / file
               for file in sorted(sources)]
    world = subject.world
    if not in_headers:
        world = [str(OUT / 'obj' / file)[:-3] + '.o' for file in world]
    program = folder / f'{subject.name}-sim'
    command = [*COMPILE, f'-I{folder}/src', '-Isrc', '-I.', '-o', program, *sources, *world,
               OUT / 'libquoll.a', *LIBS]
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True)
    return program


def hunt(subject, mutant):
    name, rule, replacements = mutant
    program = build(subject, name, changed(name, replacements))
    started = time.monotonic()
    try:
        run = subprocess.run([program, *subject.arguments], cwd=ROOT, capture_output=True,
                             text=True, timeout=SECONDS_MAX)
        found = subject.seen(run.stdout + run.stderr)
    except subprocess.TimeoutExpired:
        found = None
    seconds = time.monotonic() - started
    if found is None:
        print(f'FAIL {name}: nothing was seen ({rule}; {seconds:.0f} s)')
    else:
        print(f'{name}: {found[0]}: {found[1]} ({rule}; {seconds:.0f} s)')
    sys.stdout.flush()
    return found is not None


def main():
    wanted = sys.argv[1:]
    known = [(subject, mutant) for subject in SUBJECTS for mutant in subject.mutants]
    if unknown := set(wanted) - {mutant[0] for _, mutant in known}:
        sys.exit(f'mutants: not in the list: {" ".join(unknown)}')
    chosen = [(subject, mutant) for subject, mutant in known
              if not wanted or mutant[0] in wanted]
    for _, (name, _, replacements) in known:
        changed(name, replacements)  # the list fits the sources before anything is built
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = sum(pool.map(lambda pair: hunt(*pair), chosen))
    print(f'{caught} passed, {len(chosen) - caught} failed')
    return caught < len(chosen)


if __name__ == '__main__':
    sys.exit(main())
