"""tulp port-check: what binaries import, what becomes of it, and what to do; and files that are none."""
import json
import os
import pathlib
import random
import subprocess
import unittest

from programs import TULP, temporary_folder, tulp

ROOT = pathlib.Path(__file__).parents[2]

PROGRAM = r"""
#include <poll.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <unistd.h>
#include <stdlib.h>
int main(int argc, char** argv) {
  char byte;
  if (argc > 9) {
    sem_wait((sem_t*)argv);
    fsync(1);
    return system(argv[1]) + (int)recv(3, &byte, 1, 0) + poll(0, 0, 1) + (int)read(0, &byte, 1);
  }
  return 0;
}
"""


def check(*args):
    result = tulp("port-check", *args)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def compile_program(folder, name, source, *options):
    path = folder / name
    subprocess.run(["cc", "-x", "c", "-", "-o", path, *options], input=source.encode(), check=True, timeout=60)
    return path


class PortCheck(unittest.TestCase):
    def test_the_three_lists(self):
        with temporary_folder() as folder:
            program = compile_program(folder, "program", PROGRAM)
            code, out, err = check(program)
            self.assertEqual((code, err), (10, ""))
            taken, _, rest = out.partition("  blocks the thread\n")
            self.assertTrue(out.startswith(f"{program}: program\n  taken over by tulp-blocking\n"), out)
            self.assertEqual(taken.splitlines()[2].split(), ["poll", "read", "recv"])
            for name in ("sem_wait", "fsync", "system"):
                self.assertIn(name, rest)
            (found,) = json.loads(check("--json", program)[1])["files"]
            self.assertEqual((found["kind"], found["taken_over"]), ("program", ["poll", "read", "recv"]))
            self.assertEqual(sorted(name for entry in found["blocks"] for name in entry["names"]),
                             ["fsync", "sem_wait", "system"])
            self.assertTrue(all(entry["advice"] for entry in found["blocks"]))

    def test_a_program_that_does_nothing(self):
        with temporary_folder() as folder:
            program = compile_program(folder, "program", "int main(void) { return 0; }")
            self.assertEqual(check(program), (0, f"{program}: program\n  nothing to do\n", ""))

    def test_static_programs(self):
        with temporary_folder() as folder:
            for option in ("-static", "-static-pie"):
                program = compile_program(folder, "program", PROGRAM, option)
                code, out, _ = check(program)
                self.assertEqual(code, 10)
                self.assertIn("static program\n  blocks the thread\n    static: nothing can stand before", out)

    def test_a_library_that_means_its_own_names(self):
        with temporary_folder() as folder:
            source = "int poll(void) { return 1; } int call(void) { return poll(); }"
            library = compile_program(folder, "library.so", source, "-shared", "-fPIC", "-Wl,-Bsymbolic", "-fno-builtin")
            code, out, _ = check(library)
            self.assertEqual(code, 10)
            self.assertIn("    poll\n        it has these itself", out)

    def test_needed_libraries(self):
        with temporary_folder() as folder:
            library = compile_program(folder, "libfirst.so", "int sem_wait(void*); int f(void) { return sem_wait(0); }",
                                      "-shared", "-fPIC")
            program = compile_program(folder, "program", "int f(void); int main(void) { return f(); }",
                                      f"-L{folder}", "-lfirst", "-Wl,-rpath,$ORIGIN")
            self.assertEqual(check(program)[0], 0)
            code, out, err = check("--deps", program)
            self.assertEqual((code, err), (10, ""))
            self.assertIn("libfirst.so: library\n", out)
            library.unlink()
            code, out, err = check("--deps", program)
            self.assertEqual(code, 1)
            self.assertRegex(err, r"^tulp port-check: \S+program needs \S*libfirst.so, which is not to be found\n$")

    def test_the_list_is_the_one_that_the_library_is_made_of(self):
        text = (ROOT / "src" / "base" / "blocking_library.hpp").read_text()
        names = sorted({line.split(",")[1].strip() for line in text.splitlines()
                        if line.lstrip().startswith("X(") and "," in line and not line.rstrip().endswith(",")})
        self.assertIn("read", names)
        with temporary_folder() as folder:
            names = [name for name in names if name.isidentifier()]
            source = "".join(f"void {name}(void);" for name in names) + "void f(void) {" + "".join(
                f"{name}();" for name in names) + "}"
            library = compile_program(folder, "all.so", source, "-shared", "-fPIC", "-fno-builtin", "-w")
            (found,) = json.loads(check("--json", library)[1])["files"]
            self.assertEqual(found["taken_over"], names)
            self.assertEqual(found["blocks"], [])

    def test_what_is_no_program(self):
        with temporary_folder() as folder:
            (folder / "text").write_text("hello\n")
            (folder / "empty").touch()
            os.mkfifo(folder / "fifo")
            subprocess.run(["cc", "-x", "c", "-c", "-", "-o", folder / "object.o"], input=b"int x;", check=True)
            for name, what in {"text": "not an ELF file", "empty": "not an ELF file", "fifo": "not a regular file",
                               "none": "No such file or directory", "object.o": "an object file: check the program that it "
                               "is linked into", ".": "not a regular file"}.items():
                self.assertEqual(check(folder / name), (1, "", f"tulp port-check: {folder / name}: {what}\n"))
            program = bytearray(pathlib.Path(TULP).read_bytes()[:64])
            for at, value, what in ((4, 1, "for 32 bits, which tulp is not"), (18, 40, "for another machine than this tulp")):
                other = bytearray(program)
                other[at] = value
                (folder / "other").write_bytes(other)
                code, out, err = check(folder / "other")
                self.assertEqual((code, out), (1, ""))
                self.assertEqual(err.count("\n"), 1)
            self.assertEqual(check()[0], 2)

    def test_damaged_files_get_a_line_each(self):
        dice = random.Random(7)
        with temporary_folder() as folder:
            whole = compile_program(folder, "program", PROGRAM).read_bytes()
            paths = []
            for i in range(200):
                data = bytearray(whole[:dice.randrange(len(whole))] if i % 2 else whole)
                headers = (range(16, 64), range(64, 800), range(max(len(data) - 2000, 0), len(data)))[i % 3]
                for _ in range(i % 7):
                    if data and headers:
                        at = min(dice.choice(headers), len(data) - 1)
                        data[at] = dice.randrange(256)
                paths.append(folder / f"damaged{i}")
                paths[-1].write_bytes(data)
            code, out, err = check(*paths)
            self.assertEqual(code, 1)
            for line in err.splitlines():
                self.assertTrue(line.startswith("tulp port-check: "), line)
            self.assertEqual(out.count(": program\n") + out.count(": library\n") + out.count(": static program\n") +
                             err.count("\n"), len(paths))


if __name__ == "__main__":
    unittest.main()
