"""What all subcommands have in common: help, manual, completions, version, bad arguments, and how they end."""
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import time
import unittest

from programs import TULP, on_terminal, temporary_folder, tulp

REFERENCE = pathlib.Path(TULP).parent / "reference"
HELP = tulp("--help").stdout.decode()
COMMANDS = re.findall(r"^  ([a-z]+) ", HELP.partition("Commands:\n")[2].partition("\n\n")[0], re.M)
ALL = [[], *([command] for command in COMMANDS)]


def options(command):
    """Each that --help names at the beginning of a line."""
    lines = re.findall(r"^  (-.*)", tulp(*command, "--help").stdout.decode().partition("Options:\n")[2], re.M)
    return [name for line in lines for name in re.findall(r"(?:^|(?<=, ))(-[^ ,]+)", line.partition("  ")[0])]


def run(*command, **options):
    return subprocess.run([*map(str, command)], capture_output=True, timeout=60, check=False, **options)


class Help(unittest.TestCase):
    def test_help_and_version_go_to_stdout(self):
        self.assertGreaterEqual(set(COMMANDS), {"bench", "crawl", "echo", "fetch", "help", "run"})
        for command in ALL:
            for option in "--help", "-h", "--version":
                with self.subTest(command, option=option):
                    result = tulp(*command, option)
                    self.assertEqual((result.returncode, result.stderr), (0, b""))
                    if option == "--version":
                        self.assertRegex(result.stdout, rb"^tulp \d+\.\d+\.\d+\n$")
            with self.subTest(command):
                text = tulp(*command, "--help").stdout
                self.assertEqual(tulp("help", *command).stdout, text)
                self.assertRegex(text, rb"\nExamples:\n  ")
                self.assertRegex(text, rb"\nExit codes?[,: ]")
        self.assertIn(b"28  the time given was over", tulp("fetch", "--help").stdout)

    def test_help_fits_the_terminal(self):
        for command in ALL:
            with self.subTest(command):
                too_long = [line for line in tulp(*command, "--help").stdout.decode().split("\n") if len(line) > 80]
                laid_out = [line for line in too_long if line.startswith("  ")]   # examples stay as they are
                self.assertEqual(too_long, laid_out)

    def test_an_output_that_is_full_is_an_error_and_one_that_is_closed_is_none(self):
        for command in [], ["fetch"]:
            for option in "--help", "--version":
                with self.subTest(command, option=option), open("/dev/full", "wb") as full:
                    result = subprocess.run([TULP, *command, option], stdout=full, stderr=subprocess.PIPE, check=False)
                    self.assertEqual(result.returncode, 23)
                    self.assertRegex(result.stderr, rb"^tulp( fetch)?: stdout: No space left on device\n$")
                    reading, writing = os.pipe()
                    os.close(reading)
                    with open(writing, "wb") as pipe:
                        result = subprocess.run([TULP, *command, option], stdout=pipe, stderr=subprocess.PIPE, check=False)
                    self.assertEqual((result.returncode, result.stderr), (23, b""))


class BadArguments(unittest.TestCase):
    def test_they_get_one_line(self):
        for arguments in [], ["bogus"], ["fetch"], ["echo"], ["echo", "--port", "1", "x"], ["help", "bogus"], \
                *([*command, "--bogus"] for command in ALL), ["echo", "--port"], ["echo", "--port", "65536"]:
            with self.subTest(arguments):
                result = tulp(*arguments)
                self.assertEqual((result.returncode, result.stdout, result.stderr.count(b"\n")), (2, b"", 1), result.stderr)
                self.assertTrue(result.stderr.startswith(b"tulp"), result.stderr)

    def test_what_was_meant_is_guessed(self):
        for arguments, words in (["ftech"], "did you mean fetch?"), (["fetch", "--tiemout", "5"], "did you mean --timeout?"), \
                (["help", "crwal"], "did you mean crawl?"), (["fetch", "--outputt=x", "http://x/"], "did you mean --output?"):
            with self.subTest(arguments):
                self.assertIn(words + " --help says more\n", tulp(*arguments).stderr.decode())
        self.assertNotIn(b"mean", tulp("something").stderr)


class Manual(unittest.TestCase):
    def pages(self):
        return [(command, REFERENCE / ("-".join(["tulp", *command]) + ".1")) for command in ALL]

    def test_each_command_has_a_page_that_names_each_option(self):
        for command, page in self.pages():
            with self.subTest(command):
                text = page.read_text().replace("\\-", "-")
                self.assertEqual(re.findall(r"^\.SH (.*)", text, re.M)[:4], ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"])
                self.assertEqual(re.findall(r"^\.SH (.*)", text, re.M)[-3:], ["EXIT STATUS", "EXAMPLES", "SEE ALSO"])
                for option in options(command):
                    self.assertIn(f"\\fB{option}\\fR", text)

    def test_pages_are_good_roff(self):
        for command, page in self.pages():
            with self.subTest(command):
                if shutil.which("man"):
                    result = run("man", "--warnings", "-E", "UTF-8", "-l", page, env={**os.environ, "MANWIDTH": "80"})
                    self.assertEqual((result.returncode, result.stderr), (0, b""))
                if shutil.which("mandoc"):
                    result = run("mandoc", "-T", "lint", "-W", "warning", page)
                    complaints = [line for line in result.stdout.decode().splitlines() if "missing date" not in line]
                    self.assertEqual(complaints, [])   # a date would change with each build


class Completions(unittest.TestCase):
    def offered(self, *words):
        raise NotImplementedError

    def check(self):
        self.assertGreaterEqual(set(self.offered("")), set(COMMANDS))
        self.assertEqual([word for word in self.offered("fet") if word != "fetch"], [])
        for command in ALL:
            with self.subTest(command):
                known = options(command)
                self.assertTrue(known)
                self.assertGreaterEqual(set(self.offered(*command, "--")), {name for name in known if name.startswith("--")})

    def test_bash(self):
        script = 'source "$0"; COMP_WORDS=(tulp "$@"); COMP_CWORD=$#; _tulp; printf "%s\\n" "${COMPREPLY[@]}"'
        self.offered = lambda *words: run("bash", "-c", script, REFERENCE / "tulp", *words).stdout.decode().split()
        self.check()

    def test_fish(self):
        fish = shutil.which("fish") or self.skipTest("fish is not installed")

        def offered(*words):
            line = " ".join(["tulp", *words])
            result = run(fish, "--no-config", "-c", f"source {REFERENCE}/tulp.fish; complete -C '{line}'")
            self.assertEqual(result.stderr, b"")
            return [entry.partition("\t")[0] for entry in result.stdout.decode().splitlines()]
        self.offered = offered
        self.check()

    def test_zsh(self):
        zsh = shutil.which("zsh") or self.skipTest("zsh is not installed")
        self.assertEqual(run(zsh, "-n", REFERENCE / "_tulp").stderr, b"")
        text = (REFERENCE / "_tulp").read_text()
        for command in ALL:
            for option in options(command):
                self.assertRegex(text, rf"[{{,) '(]{re.escape(option)}\b")


TYPED = [   # in a folder with certificate.pem and site/, before the tabulator is pressed; and what stands there then
    ("echo --tls-cert cer", "certificate.pem"), ("echo --tls-key=cer", "--tls-key=certificate.pem"),
    ("serve si", "site/"), ("serve --access-log cer", "certificate.pem"), ("serve --port cer", "cer"),
    ("nc --unix cer", "certificate.pem"), ("fetch -o cer", "certificate.pem"), ("crawl --cacert cer", "certificate.pem"),
    ("proxy --listen cer", "cer"), ("port-check cer", "certificate.pem"), ("help ser", "serve"), ("fetch --crl", "--crlfile")]


class Typing(unittest.TestCase):
    """At a shell, as a person does."""

    def setUp(self):
        self.folder = self.enterContext(temporary_folder())
        (self.folder / "certificate.pem").touch()
        (self.folder / "site").mkdir()

    def type(self, shell, *prepare):
        """What each line of TYPED becomes in a shell where tulp prints its arguments."""
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            environment = {"TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null", "HOME": str(self.folder)}
            os.execvpe(shell[0], shell, {**os.environ, **environment})
        self.printed = ""
        for line in *prepare, "tulp() { printf '<%s>' \"$@\" END; }":
            os.write(self.terminal, line.encode() + b"\n")
        for line, word in TYPED:
            self.enter(line, word)
        os.write(self.terminal, b"exit\n")
        os.waitpid(pid, 0)
        os.close(self.terminal)
        return [re.findall("<([^<>]*)>", each)[-1] for each in self.printed.split("<END>")[:-1]]

    def enter(self, line, word):
        """As a person, who looks at what is offered: zsh inserts nothing if the next key is there already."""
        begin, answer = len(self.printed), "\a" if line.endswith(word) else word.rstrip("/")
        os.write(self.terminal, f"tulp {line}\t".encode())
        while answer not in self.printed[begin:] and select.select([self.terminal], [], [], 10)[0]:
            self.printed += os.read(self.terminal, 65536).decode()
        os.write(self.terminal, b"\n")
        before = self.printed.count("<END>")
        while self.printed.count("<END>") == before:
            self.printed += os.read(self.terminal, 65536).decode()

    def check(self, became):
        for (line, word), instead in zip(TYPED, became):
            with self.subTest(line):
                self.assertEqual(instead.rstrip("/"), word.rstrip("/"))   # zsh takes it back at the end of the line
        self.assertEqual(len(became), len(TYPED))

    def test_bash_completes_files_folders_and_words_where_they_belong(self):
        self.check(self.type(["bash", "--norc", "-i"], f"source {REFERENCE}/tulp"))

    def test_zsh_does_too(self):
        zsh = shutil.which("zsh") or self.skipTest("zsh is not installed")
        self.check(self.type([zsh, "-f", "-i"], f"fpath=({REFERENCE} $fpath)", "autoload -U compinit", "compinit -u -D"))

    def test_fish_does_too(self):
        fish = shutil.which("fish") or self.skipTest("fish is not installed")
        for line, word in TYPED:
            with self.subTest(line):
                result = run(fish, "--no-config", "-c", f"source {REFERENCE}/tulp.fish; complete -C 'tulp {line}'", cwd=self.folder)
                offered = [entry.partition("\t")[0] for entry in result.stdout.decode().splitlines()]
                self.assertEqual(offered, [word] if word != line.split()[-1] else [])


class Ends(unittest.TestCase):
    def test_signals_end_every_command_quietly(self):
        for arguments in ["demo", "--pages", "20000", "--fibers", "500"], ["demo", "--serve"], ["echo", "--port", "0"], \
                ["echo", "--udp", "--port", "0"]:
            for number, code in (signal.SIGINT, 130), (signal.SIGTERM, 143):
                with self.subTest(arguments, number=number):
                    pipe = subprocess.PIPE
                    with subprocess.Popen([TULP, *arguments], stdout=pipe, stderr=pipe) as process:
                        process.stdout.readline()
                        time.sleep(0.3)   # in the middle of it
                        process.send_signal(number)
                        self.assertEqual((process.wait(timeout=60), process.stderr.read()), (code, b""))

    def test_help_on_a_narrow_terminal_and_without_colours(self):
        for environment in {}, {"NO_COLOR": "1"}, {"TERM": "dumb"}:
            text, code = on_terminal("fetch", "--help", **environment)
            self.assertEqual((code, "\x1b" in text), (0, False))


if __name__ == "__main__":
    unittest.main()
