"""Builds the core of a replica group with one rule broken at a time (mutant_list.py) and expects
group-sim to see every one of them within its seeds.

    make mutants                       all;  MUTANTS='NAME...' only these;  SEEDS=2000

The sources of a mutant are written to build/mutants/NAME and come before ours; the product itself
holds no switches. Per mutant: the seed, and what was seen. The last line is `N passed, N failed`.
"""
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

from mutant_list import MUTANTS

ROOT = pathlib.Path(__file__).resolve().parents[3]
OUT = pathlib.Path(os.environ['OUT'])
COMPILE = shlex.split(os.environ['COMPILE'])
LIBS = shlex.split(os.environ['LIBS'])
SEEDS = int(os.environ.get('SEEDS', 2000))
SECONDS_MAX = 900  # of one mutant's seeds
CORE = 'src/cluster/group_core.cc'
WORLD = ['tests/sim/group/group_world.cc', 'tests/sim/group/main.cc']


def changed(name, replacements):
    """The changed files, by name under src/cluster."""
    texts = {}
    for file, old, new in replacements:
        text = texts.get(file) or (ROOT / 'src/cluster' / file).read_text()
        if text.count(old) != 1:
            sys.exit(f'mutants: {name}: {text.count(old)} places in {file} read: {old}')
        texts[file] = text.replace(old, new)
    return texts


def build(name, texts):
    """Compiles what depends on the changed files, and links it with what does not."""
    folder = OUT / 'mutants' / name
    cluster = folder / 'src/cluster'
    cluster.mkdir(parents=True, exist_ok=True)
    for old in cluster.iterdir():
        old.unlink()
    for file, text in texts.items():
        (cluster / file).write_text(text)
    core = cluster / 'group_core.cc' if 'group_core.cc' in texts else ROOT / CORE
    in_headers = any(file.endswith('.h') for file in texts)
    world = WORLD if in_headers else [str(OUT / 'obj' / file)[:-3] + '.o' for file in WORLD]
    program = folder / 'group-sim'
    command = [*COMPILE, f'-I{folder}/src', '-Isrc', '-I.', '-o', program, core, *world,
               OUT / 'libquoll.a', *LIBS]
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True)
    return program


def seen(output):
    """(seed, what) of the first failure in group-sim's output; None: it saw nothing."""
    seed = re.findall(r'^scripts/run-sim --group --seed (\d+)', output, re.M)
    if not seed:
        return None
    told = re.findall(r"^FAILED: (.*)|^==> .*?('.*') is not true", output, re.M)
    return seed[0], ' '.join(part for part in told[0] if part) if told else 'it ended'


def hunt(mutant):
    name, rule, replacements = mutant
    program = build(name, changed(name, replacements))
    started = time.monotonic()
    command = [program, '--seed', '1', '--seeds', str(SEEDS), '--until-failure']
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True,
                             timeout=SECONDS_MAX)
        found = seen(run.stdout + run.stderr)
    except subprocess.TimeoutExpired:
        found = None
    seconds = time.monotonic() - started
    if found is None:
        print(f'FAIL {name}: nothing was seen in {SEEDS} seeds ({rule}; {seconds:.0f} s)')
    else:
        print(f'{name}: seed {found[0]}: {found[1]} ({rule}; {seconds:.0f} s)')
    sys.stdout.flush()
    return found is not None


def main():
    wanted = sys.argv[1:]
    if unknown := set(wanted) - {mutant[0] for mutant in MUTANTS}:
        sys.exit(f'mutants: not in the list: {" ".join(unknown)}')
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant[0] in wanted]
    for name, _, replacements in MUTANTS:
        changed(name, replacements)  # the list fits the sources before anything is built
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        caught = sum(pool.map(hunt, chosen))
    print(f'{caught} passed, {len(chosen) - caught} failed')
    return caught < len(chosen)


if __name__ == '__main__':
    sys.exit(main())
