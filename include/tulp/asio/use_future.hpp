// use_future and async_wait: Boost.Asio's operations as Futures, and Futures as Asio's operations.  Floor 7, loop.
//
// For programs that use Boost.Asio; nothing of it is in libtulp, and tulp.hpp does not include this.
#pragma once
#include <tulp/error.hpp>
#include <tulp/future.hpp>
#include <tulp/promise.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <boost/version.hpp>
#if BOOST_VERSION >= 107700
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/dispatch.hpp>
/// Whether an operation can be told to stop: cancellation slots came with Boost 1.77.
#define TULP_ASIO_CAN_CANCEL 1
#else
#define TULP_ASIO_CAN_CANCEL 0
#endif

#include <exception>
#include <functional>
#include <memory>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace tulp {

/// A completion token for any asynchronous operation of Boost.Asio: what that is started with becomes a Future of this
/// thread's loop, which a fiber awaits and a coroutine co_awaits.
///
///   std::size_t count = co_await socket.async_read_some(boost::asio::buffer(memory), tulp::use_future);
///   int answer = await(boost::asio::co_spawn(context, compute(), tulp::use_future));
///
/// The Future's type is what the handler is given, without a leading error_code or exception_ptr: void, T, or a
/// std::tuple of several.  Its error: the exception; of an error_code in the system's category an OsError or one of its
/// kind (ConnectionRefusedError); of another one, as of Asio's end of file and its resolver, a std::system_error with the
/// same text.  The context may run on another thread.  If it is destroyed with the operation pending, the Future fails
/// with InvalidStateError.
///
/// Cancel: with Boost 1.77 and later the operation gets a cancellation signal, on its own executor, and the Future ends
/// with the operation: as cancelled if that was aborted, else with its result.  So buffers in the locals of whoever
/// waits are safe.  Earlier ones know no such signal: the Future waits for the operation, which its I/O object can end
/// (`socket.cancel()`).
struct UseFuture {};
inline constexpr UseFuture use_future{};

namespace detail {

inline std::exception_ptr error_of(const boost::system::error_code& code) {
  if (code.category() == boost::system::system_category() || code.category() == boost::system::generic_category())
    return make_os_error(code.value(), "Boost.Asio");
  return std::make_exception_ptr(std::system_error(std::error_code(code)));
}

inline bool is_abort(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& failure) {
    return failure.code() == boost::asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

template <class T>
void end_failed(Promise<T>& promise, const boost::system::error_code& code) {
  if (code == boost::asio::error::operation_aborted && promise.is_cancelled())
    promise.set_cancelled();
  else
    promise.set_exception(error_of(code));
}
template <class T>
void end_failed(Promise<T>& promise, const std::exception_ptr& error) {
  if (promise.is_cancelled() && is_abort(error))
    promise.set_cancelled();
  else
    promise.set_exception(error);
}

/// What a handler's arguments, decayed, come to.
template <class... Args>
struct AsioSignature {
  using Result = std::tuple<Args...>;
  static void complete(Promise<Result>& promise, Args... args) { promise.set_result(Result(std::move(args)...)); }
};
template <class Arg>
struct AsioSignature<Arg> {
  using Result = Arg;
  static void complete(Promise<Result>& promise, Arg arg) { promise.set_result(std::move(arg)); }
};
template <>
struct AsioSignature<> {
  using Result = void;
  static void complete(Promise<void>& promise) { promise.set_result(); }
};
/// With an error in front, which is none if it converts to false.
template <class Error, class... Args>
struct AsioSignatureWithError {
  using Result = typename AsioSignature<Args...>::Result;
  static void complete(Promise<Result>& promise, const Error& error, Args... args) {
    if (error)
      end_failed(promise, error);
    else
      AsioSignature<Args...>::complete(promise, std::move(args)...);
  }
};
template <class... Args>
struct AsioSignature<boost::system::error_code, Args...> : AsioSignatureWithError<boost::system::error_code, Args...> {
};
template <class... Args>
struct AsioSignature<std::exception_ptr, Args...> : AsioSignatureWithError<std::exception_ptr, Args...> {};
// Less special than both <Arg> and <error, Args...>.
template <>
struct AsioSignature<boost::system::error_code> : AsioSignatureWithError<boost::system::error_code> {};
template <>
struct AsioSignature<std::exception_ptr> : AsioSignatureWithError<std::exception_ptr> {};

#if TULP_ASIO_CAN_CANCEL
using AsioSignal = boost::asio::cancellation_signal;
#else
struct AsioSignal {};
#endif

/// Whoever cancels may be on another thread than the operation, which hears of it in its own turn.
template <class Initiation>
std::function<void()> cancel_by(const std::weak_ptr<AsioSignal>& signal, const Initiation& initiation) {
#if TULP_ASIO_CAN_CANCEL
  if constexpr (requires { initiation.get_executor(); })
    return [signal, executor = initiation.get_executor()] {
      if (signal.expired()) return;  // the operation has ended
      boost::asio::dispatch(executor, [signal] {
        if (const auto present = signal.lock()) present->emit(boost::asio::cancellation_type::all);
      });
    };
  else
    return [signal] {
      if (const auto present = signal.lock()) present->emit(boost::asio::cancellation_type::all);
    };
#else
  static_cast<void>(signal), static_cast<void>(initiation);
  return [] {};
#endif
}

/// The handler of an operation.
template <class... Args>
class AsioHandler {
 public:
  using Signature = AsioSignature<Args...>;
  AsioHandler(Promise<typename Signature::Result> promise, std::shared_ptr<AsioSignal> signal) noexcept
      : promise_(std::move(promise)), signal_(std::move(signal)) {}

  void operator()(Args... args) { Signature::complete(promise_, std::move(args)...); }

#if TULP_ASIO_CAN_CANCEL
  using cancellation_slot_type = boost::asio::cancellation_slot;
  cancellation_slot_type get_cancellation_slot() const noexcept { return signal_->slot(); }
#endif

 private:
  Promise<typename Signature::Result> promise_;
  std::shared_ptr<AsioSignal> signal_;
};

template <class T>
struct AsioOutcome {
  using type = void(std::exception_ptr, T);
};

/// What a Future has come to, for a handler of Asio's, on that one's executor.
template <class T, class Handler>
class AsioCompletion {
 public:
  explicit AsioCompletion(Handler handler)
      : work_(boost::asio::make_work_guard(handler)), handler_(std::move(handler)) {}

  void operator()(const Future<T>& future) {
    std::exception_ptr error;
    if constexpr (std::is_void_v<T>) {
      try {
        future.result();
      } catch (...) {
        error = std::current_exception();
      }
      finish([handler = std::move(handler_), error]() mutable { std::move(handler)(error); });
    } else {
      T value{};
      try {
        value = future.result();
      } catch (...) {
        error = std::current_exception();
      }
      finish([handler = std::move(handler_), error, value = std::move(value)]() mutable {
        std::move(handler)(error, std::move(value));
      });
    }
  }

 private:
  template <class Call>
  void finish(Call call) {
    boost::asio::post(work_.get_executor(), std::move(call));
    work_.reset();
  }
  using Executor = boost::asio::associated_executor_t<Handler>;
  boost::asio::executor_work_guard<Executor> work_;
  Handler handler_;
};

}  // namespace detail

/// The other way: an operation of Boost.Asio, for any of its completion tokens, that ends with `future`; of a handler it
/// wants the signature void(std::exception_ptr), or void(std::exception_ptr, T).
///
///   int answer = co_await tulp::async_wait(future, boost::asio::use_awaitable);
///
/// Cancel: a cancellation signal cancels the Future: shield() it if others wait for it.  (Boost 1.77 and later.)
/// Thread: any.  Throws: InvalidStateError - the Future's loop is closed.
template <class T, class Token>
auto async_wait(Future<T> future, Token&& token) {
  using Signature = typename std::conditional_t<std::is_void_v<T>, std::type_identity<void(std::exception_ptr)>,
                                                detail::AsioOutcome<T>>::type;
  const auto initiate = [](auto handler, Future<T> awaited) {
    EventLoop& loop = awaited.get_loop();
#if TULP_ASIO_CAN_CANCEL
    if (auto slot = boost::asio::get_associated_cancellation_slot(handler); slot.is_connected())
      slot.assign([awaited](boost::asio::cancellation_type) mutable {
        awaited.get_loop().call_soon_threadsafe([awaited]() mutable { awaited.cancel(); });
      });
#endif
    loop.call_soon_threadsafe([awaited, completion = detail::AsioCompletion<T, decltype(handler)>(std::move(
                                            handler))]() mutable { awaited.add_done_callback(std::move(completion)); });
  };
  return boost::asio::async_initiate<Token, Signature>(initiate, token, std::move(future));
}

}  // namespace tulp

template <class R, class... Args>
class boost::asio::async_result<tulp::UseFuture, R(Args...)> {
 public:
  using Handler = tulp::detail::AsioHandler<std::decay_t<Args>...>;
  using return_type = tulp::Future<typename Handler::Signature::Result>;

  template <class Initiation, class... InitiationArgs>
  static return_type initiate(Initiation&& initiation, tulp::UseFuture, InitiationArgs&&... args) {
    tulp::Promise<typename Handler::Signature::Result> promise;
    return_type future = promise.get_future();
    const auto signal = std::make_shared<tulp::detail::AsioSignal>();
    promise.on_cancel(tulp::detail::cancel_by(signal, initiation));
    try {
      std::forward<Initiation>(initiation)(Handler(std::move(promise), signal), std::forward<InitiationArgs>(args)...);
    } catch (...) {
      future.state()->take_note();
      throw;
    }
    return future;
  }
};
