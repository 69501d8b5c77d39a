// Boost.Asio's operations as Futures, and Futures as Asio's operations.
#include <utility>  // Boost 1.74 does without
// After it.
#include <boost/asio.hpp>
#include <tulp/asio/use_future.hpp>
#include <tulp/tulp.hpp>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <tuple>

#include "support/loops.hpp"
#include "support/tasks.hpp"

using namespace tulp;
using namespace tulp::test;
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

/// An io_context that a thread of its own runs.
class OtherThread {
 public:
  ~OtherThread() {
    work_.reset();
    thread_.join();
  }
  asio::io_context context;

 private:
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(context);
  std::thread thread_{[this] { context.run(); }};
};

/// An operation with a handler of this signature, which `complete(handler)` ends on the context.
template <class Signature, class Complete>
auto operation(asio::io_context& context, Complete complete) {
  const auto initiate = [&context, complete](auto handler) {
    asio::post(context, [complete, handler = std::move(handler)]() mutable { complete(handler); });
  };
  return asio::async_initiate<const UseFuture, Signature>(initiate, use_future);
}

struct AsioPair {
  explicit AsioPair(asio::io_context& context)
      : acceptor(context, {asio::ip::address_v4::loopback(), 0}), client(context), server(context) {
    client.connect(acceptor.local_endpoint());
    acceptor.accept(server);
  }
  tcp::acceptor acceptor;
  tcp::socket client, server;
};

}  // namespace

TEST_CASE_METHOD(LoopTest, "a handler's signature decides the type of the Future, and its error is the Future's") {
  OtherThread other;
  run([&] {
    auto& context = other.context;
    await(operation<void()>(context, [](auto& handler) { handler(); }));
    await(operation<void(error_code)>(context, [](auto& handler) { handler(error_code()); }));
    CHECK(await(operation<void(int)>(context, [](auto& handler) { handler(3); })) == 3);
    CHECK(await(operation<void(error_code, int)>(context, [](auto& handler) { handler(error_code(), 4); })) == 4);
    const auto two = operation<void(error_code, int, std::string)>(
        context, [](auto& handler) { handler(error_code(), 5, std::string("five")); });
    CHECK(await(two) == std::tuple(5, std::string("five")));
    auto unique = operation<void(std::exception_ptr, std::unique_ptr<int>)>(
        context, [](auto& handler) { handler(nullptr, std::make_unique<int>(6)); });
    CHECK(*await(unique) == 6);
    const auto refused = operation<void(error_code, int)>(
        context, [](auto& handler) { handler(error_code(asio::error::connection_refused), 0); });
    CHECK_THROWS_AS(await(refused), ConnectionRefusedError);
    const auto failing =
        operation<void(std::exception_ptr)>(context, [](auto& handler) { handler(std::make_exception_ptr(Boom())); });
    CHECK_THROWS_AS(await(failing), Boom);
    try {
      await(operation<void(error_code)>(
          context, [](auto& handler) { handler(asio::error::make_error_code(asio::error::eof)); }));
      FAIL("no error");
    } catch (const std::system_error& eof) {
      CHECK(eof.code() == std::error_code(asio::error::make_error_code(asio::error::eof)));
      CHECK(std::string(eof.what()) == "End of file");
    }
  });
}

TEST_CASE_METHOD(LoopTest, "sockets and timers of a context on another thread are awaited in fibers and coroutines") {
  OtherThread other;
  run([&] {
    asio::steady_timer timer(other.context, 1ms);
    await(timer.async_wait(use_future));
    AsioPair pair(other.context);
    const std::string text = "text";
    CHECK(await(asio::async_write(pair.client, asio::buffer(text), use_future)) == text.size());
    const auto read = [&]() -> Future<std::string> {
      std::string got(text.size(), ' ');
      co_await asio::async_read(pair.server, asio::buffer(got), use_future);
      co_return got;
    };
    CHECK(await(read()) == text);
  });
}

TEST_CASE_METHOD(LoopTest, "cancelling the Future stops the operation, and waits until its buffers are free") {
  OtherThread other;
  run([&] {
    AsioPair pair(other.context);
    auto reader = create_task([&] {
      std::array<char, 16> memory{};
      await(pair.server.async_read_some(asio::buffer(memory), use_future));
    });
    let_others_run();
    reader.cancel();
    // Before Boost 1.77 nobody hears of that but the socket's own cancel().
    if (!TULP_ASIO_CAN_CANCEL) asio::post(other.context, [&] { pair.server.cancel(); });
    CHECK_THROWS_AS(await(reader), FutureCancelledError);
    CHECK(reader.cancelled());
    // It was that one operation which has ended.
    auto again = create_task([&] {
      std::array<char, 16> memory{};
      return await(pair.server.async_read_some(asio::buffer(memory), use_future));
    });
    pair.client.send(asio::buffer("x", 1));
    CHECK(await(again) == 1);
  });
}

#if TULP_ASIO_CAN_CANCEL && defined(BOOST_ASIO_HAS_CO_AWAIT)
TEST_CASE_METHOD(LoopTest, "a time limit ends a read and an awaitable of Asio's") {
  OtherThread other;
  run([&] {
    AsioPair pair(other.context);
    std::array<char, 16> memory{};
    CHECK_THROWS_AS(wait_for(pair.server.async_read_some(asio::buffer(memory), use_future), 1ms), TimeoutError);
    const auto sleeps = [&]() -> asio::awaitable<void> {
      asio::steady_timer timer(other.context, 1h);
      co_await timer.async_wait(asio::use_awaitable);
    };
    CHECK_THROWS_AS(wait_for(asio::co_spawn(other.context, sleeps(), use_future), 1ms), TimeoutError);
  });
}
#endif

TEST_CASE_METHOD(LoopTest, "an operation that is aborted by somebody else is an error") {
  OtherThread other;
  run([&] {
    asio::steady_timer timer(other.context, 1h);
    auto waiting = timer.async_wait(use_future);
    asio::post(other.context, [&] { timer.cancel(); });
    try {
      await(waiting);
      FAIL("no error");
    } catch (const OsError& error) {
      CHECK(error.code() == std::errc::operation_canceled);
    }
  });
}

TEST_CASE_METHOD(LoopTest, "a context that is destroyed with operations pending fails their Futures") {
  std::optional<asio::io_context> context(std::in_place);
  run([&] {
    std::optional<asio::steady_timer> timer(std::in_place, *context, 1h);
    auto waiting = timer->async_wait(use_future);
    auto cancelled = asio::post(*context, use_future);
    cancelled.cancel();
    timer.reset();
    context.reset();
    CHECK_THROWS_AS(await(waiting), InvalidStateError);
    CHECK_THROWS_AS(await(cancelled), FutureCancelledError);
  });
}

TEST_CASE_METHOD(LoopTest, "async_wait: a handler hears of a Future's end") {
  OtherThread other;
  run([&] {
    Promise<bool> promise;
    auto heard = promise.get_future();
    Future<> done;
    async_wait(done, asio::bind_executor(other.context,
                                         [&](std::exception_ptr error) { promise.set_result(error == nullptr); }));
    done.set_result();
    CHECK(await(heard));
  });
}

// Which Boost 1.74 has with g++ alone.
#ifdef BOOST_ASIO_HAS_CO_AWAIT
TEST_CASE_METHOD(LoopTest, "awaitables of a context on another thread are awaited") {
  OtherThread other;
  run([&] {
    const auto compute = [](int number) -> asio::awaitable<int> { co_return number + 1; };
    CHECK(await(asio::co_spawn(other.context, compute(3), use_future)) == 4);
    const auto fails = []() -> asio::awaitable<void> {
      throw Boom();
      co_return;
    };
    CHECK_THROWS_AS(await(asio::co_spawn(other.context, fails(), use_future)), Boom);
  });
}

TEST_CASE_METHOD(LoopTest, "async_wait: a Future in an awaitable of Asio's") {
  OtherThread other;
  run([&] {
    const auto compute = [](Future<int> number) -> asio::awaitable<int> {
      co_return 1 + co_await async_wait(number, asio::use_awaitable);
    };
    Future<int> number;
    auto sum = asio::co_spawn(other.context, compute(number), use_future);
    let_others_run(2);
    number.set_result(4);
    CHECK(await(sum) == 5);
    Future<> failing;
    const auto fails = [](Future<> future) -> asio::awaitable<void> {
      co_await async_wait(future, asio::use_awaitable);
    };
    auto failed = asio::co_spawn(other.context, fails(failing), use_future);
    failing.set_exception(Boom());
    CHECK_THROWS_AS(await(failed), Boom);
  });
}
#endif
