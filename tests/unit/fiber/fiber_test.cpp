#include "fiber/fiber.hpp"

#include <dlfcn.h>
#include <execinfo.h>

#include <cerrno>
#include <cfenv>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace tulp;

namespace {

Fiber main_flow;

[[gnu::noinline]] void go(Fiber& from, Fiber& to) { from.switch_to(to, FlowThread::here()); }

/// A fiber that runs a function; resume() and pause() are the two ends of each switch.
class Flow {
 public:
  explicit Flow(std::function<void(Flow&)> body) : body_(std::move(body)) {
    pool_.reserve();
    stack_ = pool_.take();
    fiber_ = std::make_unique<Fiber>(stack_, program);
    fiber_->user = this;
  }
  ~Flow() {
    CHECK(is_over);
    fiber_->close();
    pool_.give_back(stack_);
  }
  void resume() {
    current = this;
    go(main_flow, *fiber_);
  }
  void pause() { go(*fiber_, main_flow); }

  bool is_over = false;

 private:
  static void entry(Fiber&) noexcept {
    for (;;) {
      Flow& self = *current;
      self.body_(self);
      self.is_over = true;
      self.pause();
    }
  }
  static FiberLabel label(const void*, std::span<char>) noexcept { return {"a test's fiber", nullptr}; }
  static constexpr FiberProgram program = {entry, label};
  static inline Flow* current = nullptr;

  std::function<void(Flow&)> body_;
  StackPool pool_{256 * 1024};
  Stack stack_;
  std::unique_ptr<Fiber> fiber_;
};

std::string current_error() {
  const auto error = std::current_exception();
  if (!error) return "none";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  }
}

struct AtEnd {
  std::function<void()> what;
  ~AtEnd() noexcept(false) { what(); }
};

}  // namespace

TEST_CASE("a fiber runs until it leaves, and goes on where it left") {
  std::vector<int> order;
  Flow flow([&](Flow& self) {
    order.push_back(1);
    self.pause();
    order.push_back(3);
  });
  CHECK(order.empty());
  flow.resume();
  order.push_back(2);
  flow.resume();
  CHECK(order == std::vector{1, 2, 3});
  CHECK(flow.is_over);
}

TEST_CASE("fibers that are parked inside catch, and left in any order, each keep their own exception") {
  std::vector<std::string> seen;
  const auto body = [&](const char* name) {
    return [&seen, name](Flow& self) {
      try {
        throw std::runtime_error(name);
      } catch (const std::exception&) {
        self.pause();
        seen.push_back(current_error());
        try {
          throw;
        } catch (const std::exception& again) {
          seen.push_back(again.what());
        }
      }
      seen.push_back(current_error());
    };
  };
  Flow a(body("a")), b(body("b"));
  a.resume();
  b.resume();
  CHECK(current_error() == "none");
  a.resume();  // not last in, first out
  CHECK(seen == std::vector<std::string>{"a", "a", "none"});
  b.resume();
  CHECK(std::vector<std::string>(seen.begin() + 3, seen.end()) == std::vector<std::string>{"b", "b", "none"});
}

TEST_CASE("the thread's own flow keeps its exception while fibers throw and catch theirs") {
  Flow flow([](Flow& self) {
    CHECK(current_error() == "none");  // a fresh fiber has no exception, though its maker handles one
    try {
      throw std::runtime_error("the fiber's");
    } catch (...) {
      self.pause();
      CHECK(current_error() == "the fiber's");
    }
  });
  try {
    throw std::runtime_error("the thread's");
  } catch (...) {
    flow.resume();
    CHECK(current_error() == "the thread's");
  }
  CHECK(current_error() == "none");
  flow.resume();
}

TEST_CASE("a fiber that is parked in a destructor while unwinding counts its own uncaught exceptions alone") {
  int at_start = -1, inside = -1, caught = 0;
  Flow other([&](Flow&) { at_start = std::uncaught_exceptions(); });
  Flow flow([&](Flow& self) {
    try {
      const AtEnd park{[&] {
        self.pause();
        inside = std::uncaught_exceptions();
        CHECK(flow_thread.is_unwinding());
      }};
      throw std::runtime_error("unwinding");
    } catch (const std::runtime_error&) {
      ++caught;
    }
    CHECK_FALSE(flow_thread.is_unwinding());
  });
  flow.resume();
  CHECK(std::uncaught_exceptions() == 0);
  other.resume();
  CHECK(at_start == 0);
  flow.resume();
  CHECK(inside == 1);
  CHECK(caught == 1);
}

TEST_CASE("nested exceptions survive a switch, and an exception_ptr can be carried to another fiber") {
  std::exception_ptr carried;
  Flow thrower([&](Flow& self) {
    try {
      try {
        throw std::runtime_error("inner");
      } catch (...) {
        self.pause();
        std::throw_with_nested(std::logic_error("outer"));
      }
    } catch (...) {
      self.pause();
      carried = std::current_exception();
    }
  });
  Flow catcher([&](Flow&) {
    try {
      std::rethrow_exception(carried);
    } catch (const std::exception& outer) {
      CHECK(std::string(outer.what()) == "outer");
      CHECK_THROWS_WITH(std::rethrow_if_nested(outer), "inner");
    }
  });
  for (int i = 0; i < 3; ++i) thrower.resume();
  catcher.resume();
}

TEST_CASE("errno belongs to the flow") {
  Flow flow([](Flow& self) {
    errno = ENOENT;
    self.pause();
    CHECK(errno == ENOENT);
  });
  errno = EBADF;
  flow.resume();
  CHECK(errno == EBADF);
  errno = EPIPE;
  flow.resume();
  CHECK(errno == EPIPE);
}

TEST_CASE("the rounding mode belongs to the flow") {
  Flow flow([](Flow& self) {
    std::fesetround(FE_UPWARD);
    self.pause();
    CHECK(std::fegetround() == FE_UPWARD);
  });
  flow.resume();
  CHECK(std::fegetround() == FE_TONEAREST);
  flow.resume();
  CHECK(std::fegetround() == FE_TONEAREST);
}

TEST_CASE("a fiber's stack is aligned as the ABI wants, and large frames fit") {
  Flow flow([](Flow&) {
    alignas(64) volatile char aligned[64] = {};
    CHECK(reinterpret_cast<std::uintptr_t>(&aligned) % 64 == 0);
    volatile char large[200 * 1024];
    large[0] = 1;
    large[sizeof large - 1] = 1;
    char text[64];
    std::snprintf(text, sizeof text, "%.3f", 1.5);  // uses movaps
    CHECK(std::string(text) == "1.500");
  });
  flow.resume();
}

TEST_CASE("backtrace() ends at the first frame of the fiber") {
  Flow flow([&](Flow& self) {
    for (int i = 0; i < 2; ++i) {
      void* frames[200];
      const int depth = ::backtrace(frames, 200);
      CHECK(depth > 2);
      CHECK(depth < 30);
      Dl_info info{};
      CHECK(::dladdr(frames[depth - 1], &info) != 0);
      CHECK_THAT(info.dli_fname, !Catch::Contains("boost_context"));  // whose frames have no caller to unwind to
      self.pause();
    }
  });
  for (int i = 0; i < 3; ++i) flow.resume();
}

TEST_CASE("an exception crosses two hundred frames that were parked in") {
  std::function<void(Flow&, int)> descend = [&](Flow& self, int depth) {
    const std::string local(20, 'x');
    if (depth == 0) throw std::runtime_error("from the depth");
    if (depth % 50 == 0) self.pause();
    descend(self, depth - 1);
  };
  std::string caught;
  Flow flow([&](Flow& self) {
    try {
      descend(self, 200);
    } catch (const std::exception& error) {
      caught = error.what();
    }
  });
  while (!flow.is_over) flow.resume();
  CHECK(caught == "from the depth");
}

TEST_CASE("a thread knows which flow runs on it") {
  const Fiber* inside = nullptr;
  Flow flow([&](Flow&) { inside = flow_thread.running; });
  flow.resume();
  CHECK(inside != nullptr);
  CHECK(inside != flow_thread.running);
  CHECK(flow_thread.running == &main_flow);
}
