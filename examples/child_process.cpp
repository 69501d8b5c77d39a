// You learn: a conversation with a child process.  Each side waits for the other, and neither blocks the loop.
#include <tulp/tulp.hpp>

#include <iostream>
#include <string>

namespace {

/// Reads numbers, and answers with their squares, until its input ends.
constexpr const char* calculator = R"(
while read number; do
  echo $((number * number))
done
echo "no more questions" >&2
)";

void talk() {
  auto child = tulp::create_subprocess_exec({"/bin/sh", "-c", calculator},
                                            {.stdin_ = tulp::PIPE, .stdout_ = tulp::PIPE, .stderr_ = tulp::PIPE});
  // Another task listens to stderr: a pipe that nobody reads would hold up the child when it is full.
  auto complaints = tulp::create_task([&] {
    for (std::string& line : child.stderr_().lines()) std::cout << "the child says: " << line;
  });

  for (int number = 1; number <= 5; ++number) {
    child.stdin_().write(std::to_string(number) + "\n");
    std::cout << number << " squared is " << child.stdout_().readline();
  }
  child.stdin_().close();  // the end of its input is how it knows

  tulp::await(complaints);
  std::cout << "the child has exited with " << child.wait() << std::endl;
}

}  // namespace

int main() { return tulp::run_main(talk); }
