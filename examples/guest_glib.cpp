// You learn: tulp as a guest in a program of GLib's, as one with GTK is, without any library between the two.  (There is
// one, tulp-glib, which knows GLib's priorities as well.)
#include <tulp/tulp.hpp>

#include <glib-unix.h>
#include <glib.h>

#include <chrono>
#include <iostream>
#include <string>
#include <utility>

namespace {

using namespace std::chrono_literals;

/// Runs a loop of tulp's in GLib's default context.  What the program schedules between two turns makes the descriptor
/// readable, so that nothing else has to be looked at.
class Guest {
 public:
  explicit Guest(tulp::EventLoop& loop) : loop_(loop) { turn(); }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  ~Guest() {
    ::g_source_remove(watch_);
    stop_timer();
  }

 private:
  void turn() {
    loop_.run_once(tulp::RunMode::nowait);
    if (const int fd = loop_.backend_fd(); std::exchange(fd_, fd) != fd) watch(fd);
    stop_timer();
    if (const tulp::Duration timeout = loop_.next_timeout(); !timeout.is_never()) start_timer(timeout);
  }

  void watch(int fd) {
    if (watch_ != 0) ::g_source_remove(watch_);
    watch_ = ::g_unix_fd_add(
        fd, G_IO_IN,
        [](gint, GIOCondition, gpointer self) -> gboolean {
          static_cast<Guest*>(self)->turn();
          return G_SOURCE_CONTINUE;
        },
        this);
  }

  void start_timer(tulp::Duration timeout) {
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(timeout));
    timer_ = ::g_timeout_add(
        static_cast<guint>(milliseconds.count()),
        [](gpointer self) -> gboolean {
          static_cast<Guest*>(self)->timer_ = 0;  // GLib removes it
          static_cast<Guest*>(self)->turn();
          return G_SOURCE_REMOVE;
        },
        this);
  }
  void stop_timer() {
    if (timer_ != 0) ::g_source_remove(std::exchange(timer_, 0));
  }

  tulp::EventLoop& loop_;
  int fd_ = -1;
  guint watch_ = 0;
  guint timer_ = 0;
};

/// What the window would be: GLib's own timer, which asks, and is answered by a task.
struct Program {
  GMainLoop* main_loop = ::g_main_loop_new(nullptr, FALSE);
  tulp::Queue<int> questions;
  int asked = 0;

  static gboolean ask(gpointer program) {
    auto& self = *static_cast<Program*>(program);
    std::cout << "GLib asks: " << ++self.asked << " squared?" << std::endl;
    self.questions.put_nowait(self.asked);
    return self.asked < 3 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
  }

  void answer() {
    for (int count = 0; count < 3; ++count) {
      const int number = questions.get();
      tulp::sleep(1ms);  // something that takes its time, and does not hold up the window
      std::cout << "tulp answers: " << number * number << std::endl;
    }
    ::g_main_loop_quit(main_loop);
  }
};

}  // namespace

int main() {
  const auto loop = tulp::new_event_loop();
  tulp::set_event_loop(loop.get());
  const Guest guest(*loop);
  Program program;
  tulp::create_task([&] { program.answer(); });
  ::g_timeout_add(20, Program::ask, &program);
  ::g_main_loop_run(program.main_loop);
  ::g_main_loop_unref(program.main_loop);
  return 0;
}
