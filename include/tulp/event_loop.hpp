// EventLoop: callbacks, timers and descriptors, one thing at a time.  Floor 3, events.
//
// Unless its comment says otherwise, a function of tulp runs on its loop's thread, does not park, is no cancellation
// point, and leaves the object unchanged if it throws.  A method of EventLoop never parks.
#pragma once
#include <tulp/detail/intrusive_list.hpp>
#include <tulp/detail/loop_link.hpp>
#include <tulp/detail/unique_function.hpp>
#include <tulp/duration.hpp>
#include <tulp/handle.hpp>
#include <tulp/loop_core.hpp>
#include <tulp/throw_trace.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace tulp {

template <class T>
class Future;
class Executor;
class Address;
struct AddressInfo;
struct AddressInfoOptions;
struct NameInfo;
class Hosts;
class Server;
struct ConnectOptions;
struct DatagramOptions;
struct SendfileOptions;
struct ServerOptions;
struct StartTlsOptions;
struct SubprocessOptions;
class BaseProtocol;
class SslContext;
class Transport;
template <class P>
struct Connection;
namespace detail {
class TaskControl;
class FdCallbacks;
class Ring;

/// The return address of the function that calls this, which is the place in the program that called that function.
#define TULP_CALLER __builtin_return_address(0)

/// Something that lives as long as its loop, made when it is first asked for: resolver threads, open transports.
class LoopService {
 public:
  virtual ~LoopService() = default;
  /// The loop is about to close.  First nothing new is let in, then what goes on is asked to finish, at last, if it takes
  /// too long, it is cut off.
  enum class Shutdown : std::uint8_t { refuse, finish, abort };
  virtual void shut_down(Shutdown) {}
  /// Whether everything has ended.
  virtual bool is_quiet() const { return true; }
  /// This is a child process, right after fork().  The service is not used any more, and not destroyed either.
  virtual void on_fork() noexcept {}
};

/// Something to do before the loop goes on to whatever comes next: a writer's gathered bytes.
class Deferred : public ListHook<Deferred> {
 public:
  virtual void run_deferred() noexcept = 0;

 protected:
  ~Deferred() = default;
};
}  // namespace detail

/// What an exception handler is told.  Source: PEP 3156 "Exceptions".
struct ExceptionContext {
  std::string message;                ///< What went wrong, without a full stop.
  std::exception_ptr exception = {};  ///< May be null.
  std::string object = {};            ///< Who is concerned: "task 'crawl'", "transport 127.0.0.1:80"; may be empty.
  const void* created_at = nullptr;   ///< The return address of the call that made it, or null.
  /// Where the exception was thrown; null if that is not known, as of one that was caught and stored by the program.
  std::shared_ptr<const ThrowTrace> trace = {};
};
/// The report that the default exception handler gives to the log: a few lines, with functions, files and lines where
/// debug information is there.  Slow.
std::string to_string(const ExceptionContext& context);

/// Whether a loop that has nothing to do waits until it has.
enum class RunMode : std::uint8_t { wait, nowait };

/// An event loop.  One thread runs it; everything that it calls, it calls one after another.
///
/// Four members wake other flows of control: call_soon (this thread), call_soon_threadsafe (any thread), timers and
/// descriptors.  All of them queue; nothing is ever called from inside them.
class EventLoop {
 public:
  using ExceptionHandler = std::function<void(EventLoop&, const ExceptionContext&)>;

  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  virtual ~EventLoop();

  // Callbacks.  Each takes a callable and arguments, which are stored decayed and moved into the call.

  /// Calls `f(args...)` in the next iteration, after everything that was scheduled before it.
  /// Throws: InvalidStateError - the loop is closed.  Source: PEP 3156 "Basic Callbacks".
  template <class F, class... Args>
  [[gnu::noinline]] Handle call_soon(F&& f, Args&&... args);

  /// Calls `f(args...)` when `delay` has passed, never earlier; at the next iteration if it is zero or negative.
  /// Callbacks that are due at one time run in the order in which they were scheduled.  Source: as call_soon().
  template <class F, class... Args>
  [[gnu::noinline]] TimerHandle call_later(Duration delay, F&& f, Args&&... args);

  /// As call_later(), at a time of this loop's clock.
  template <class F, class... Args>
  [[gnu::noinline]] TimerHandle call_at(TimePoint when, F&& f, Args&&... args);

  /// As call_soon(), and wakes the loop if it sleeps.
  /// Thread: any.  The order of calls from one thread is kept, on the loop's own thread also among those to call_soon().
  /// Not for signal handlers.
  /// Throws: InvalidStateError - the loop is closed.  Source: PEP 3156 "Thread interaction".
  template <class F, class... Args>
  [[gnu::noinline]] Handle call_soon_threadsafe(F&& f, Args&&... args);

  /// The loop's clock: monotonic, with an arbitrary beginning.
  virtual TimePoint time() const = 0;

  // Descriptors of the user.  Level-triggered: the callback runs in every iteration in which the descriptor is ready.
  // Regular files cannot be watched.  The descriptor must be removed before it is closed.

  /// Calls `f(args...)` whenever `fd` can be read without blocking, or has hung up.  Replaces a former reader of `fd`.
  /// Throws: OsError - the descriptor cannot be watched; InvalidStateError - it belongs to a transport, or the loop is
  /// closed.  Source: PEP 3156 "I/O Callbacks".
  template <class F, class... Args>
  [[gnu::noinline]] void add_reader(int fd, F&& f, Args&&... args);
  /// As add_reader(), for writing.
  template <class F, class... Args>
  [[gnu::noinline]] void add_writer(int fd, F&& f, Args&&... args);
  /// True if there was one.  Its callback does not run any more, not even if it was queued already.
  bool remove_reader(int fd);
  bool remove_writer(int fd);

  // Signals.

  /// Calls `f(args...)` as an ordinary callback, with everything that one may do, after `signal` has arrived at the
  /// process.  Signals are seen in the order in which they arrived, each as often as it did; of more than a pipe holds
  /// repeats merge.  Replaces a former handler of this loop; several loops, in several threads, may each have one.
  /// Throws: std::invalid_argument - there is no such signal; InvalidStateError - it cannot be caught, or the loop is
  /// closed.  Source: PEP 3156 "Signals".
  template <class F, class... Args>
  [[gnu::noinline]] void add_signal_handler(int signal, F&& f, Args&&... args);
  /// True if there was one.  With the last loop's handler the former disposition of the signal comes back, as it does
  /// when the loop closes.
  bool remove_signal_handler(int signal);

  // Threads.  Defined in executor.hpp.

  template <class F, class... Args>
  [[gnu::noinline]] auto run_in_executor(Executor* executor, F&& f, Args&&... args);
  /// Who runs what is given to no executor in particular, instead of a ThreadPoolExecutor of the loop's own.
  /// Throws: std::invalid_argument - it is null; InvalidStateError - it was shut down before.
  /// Source: PEP 3156 "Thread interaction".
  void set_default_executor(std::shared_ptr<Executor> executor);
  /// Lets nothing more into the default executor, and is done when everything in it has ended.  The end of run() does
  /// that too, for at most RunOptions::drain.  Source: asyncio's loop.shutdown_default_executor.
  Future<void> shutdown_default_executor();

  // Running.

  /// Runs until stop() is called.
  /// Throws: InvalidStateError - a loop runs in this thread already, or this one is closed.
  virtual void run_forever() = 0;
  /// Lets run_forever() return at the end of the current iteration.  What is queued later waits for the next run.
  virtual void stop() = 0;
  /// Drops what is queued and gives up the loop's resources.  May be called twice.
  /// Throws: InvalidStateError - the loop runs.
  virtual void close() = 0;
  /// Runs one iteration: what is ready and due, and what had been scheduled until then.  A stop() does not outlast it.
  /// Throws: as run_forever().
  virtual void run_once(RunMode mode = RunMode::wait);
  bool is_running() const noexcept { return is_running_; }
  bool is_closed() const noexcept { return is_closed_; }

  /// Runs until `future` is done; its result, or throws what it holds.
  /// Throws: InvalidStateError - stop() was called before; as run_forever().
  template <class T>
  T run_until_complete(Future<T> future);
  /// Runs `main` as a task, until it ends.
  template <class F>
  requires std::invocable < std::decay_t<F>
  & > auto run_until_complete(F&& main);

  // As a guest.  Whatever can wait for a descriptor can run this loop beside its own work: each time before it waits it
  // asks next_timeout(), and when backend_fd() can be read, or that time has passed, it calls run_once(RunMode::nowait).
  // Other threads and signals make the descriptor readable, and so does, from the first call of backend_fd() on, whatever
  // is scheduled between two iterations.  Loops of the library alone can do that, and by epoll and kqueue alone.

  /// The descriptor: to be watched for reading, level-triggered, and for nothing else.  run_once() changes it for another
  /// one, closing this one, after the program has closed a descriptor that the loop still watched, which is reported.
  /// Throws: InvalidStateError - the loop is closed, has a host already (see loop_host.hpp), or waits in another way.
  virtual int backend_fd();
  /// How long nothing has to be run unless the descriptor is readable: zero if something is ready, Duration::max() if
  /// neither that nor a timer is there.
  /// Throws: InvalidStateError - this loop cannot be a guest.
  virtual Duration next_timeout() const;

  // Errors.

  /// Who hears of errors that have nobody else to go to; null brings back the default, which prints to stderr.
  void set_exception_handler(ExceptionHandler handler) { exception_handler_ = std::move(handler); }
  /// Reports `context`.  A handler that throws is itself reported, to stderr.
  void call_exception_handler(const ExceptionContext& context) noexcept;
  void default_exception_handler(const ExceptionContext& context) noexcept;

  /// In debug mode calls from a wrong thread are errors, and a callback or a task's step that holds up the loop for too
  /// long is reported, with the place where it was created.  At first what TULP_DEBUG says, else off.
  /// Source: asyncio's debug mode.
  void set_debug(bool is_on) noexcept {
    is_debug_ = is_on;
    update_needs_check();
  }
  bool debug() const noexcept { return is_debug_; }
  /// What is too long; 100 ms at first.
  void set_slow_callback_duration(Duration limit) noexcept { slow_callback_duration_ = limit; }
  Duration slow_callback_duration() const noexcept { return slow_callback_duration_; }

  // Connections; each returns at once, and its Future is done when the connection, the server or the endpoint stands.
  // Defined in transport.hpp, server.hpp, datagram_transport.hpp, pipe.hpp and subprocess_transport.hpp.

  template <class Factory>
  auto create_connection(Factory factory, std::string host, std::uint16_t port);
  template <class Factory>
  auto create_connection(Factory factory, std::string host, std::uint16_t port, const ConnectOptions& options);
  template <class Factory>
  auto create_connection(Factory factory, const Address& address);
  template <class Factory>
  auto create_connection(Factory factory, const Address& address, const ConnectOptions& options);
  template <class Factory>
  auto create_connection(Factory factory, const ConnectOptions& options);
  template <class Factory>
  auto connect_accepted_socket(Factory factory, int sock);
  template <class Factory>
  auto connect_accepted_socket(Factory factory, int sock, ConnectOptions options);
  template <class Factory>
  auto create_unix_connection(Factory factory, std::string path);
  template <class Factory>
  auto create_unix_connection(Factory factory, std::string path, const ConnectOptions& options);
  template <class Factory>
  Future<Server> create_server(Factory factory, Hosts hosts, std::uint16_t port);
  template <class Factory>
  Future<Server> create_server(Factory factory, Hosts hosts, std::uint16_t port, const ServerOptions& options);
  template <class Factory>
  Future<Server> create_server(Factory factory, const Address& address);
  template <class Factory>
  Future<Server> create_server(Factory factory, const Address& address, const ServerOptions& options);
  template <class Factory>
  Future<Server> create_server(Factory factory, const ServerOptions& options);
  template <class Factory>
  Future<Server> create_unix_server(Factory factory, std::string path);
  template <class Factory>
  Future<Server> create_unix_server(Factory factory, std::string path, const ServerOptions& options);
  template <class Factory>
  auto create_datagram_endpoint(Factory factory, const DatagramOptions& options);

  /// Goes on with TLS on a connection that stands, in the role that the context has.  What was written before is sent in
  /// plain; from this call on nothing is read in plain, and nothing may be written before the Future is done.  Then
  /// `protocol` hears of what comes, without another connection_made.  It is the same transport that goes on, so that
  /// nobody who still holds it can write in plain.
  /// The Future's error: as create_connection()'s with ssl; the connection is lost then.  Cancelling it aborts that.
  /// Throws: std::invalid_argument - the transport cannot do that, or an option makes no sense; InvalidStateError - the
  /// transport is closed, sends a file, or starts TLS already.
  /// Source: asyncio.loop.start_tls, which makes a new transport and leaves the old one open to misuse.
  Future<std::shared_ptr<Transport>> start_tls(std::shared_ptr<Transport> transport,
                                               std::shared_ptr<BaseProtocol> protocol, const SslContext& context);
  Future<std::shared_ptr<Transport>> start_tls(std::shared_ptr<Transport> transport,
                                               std::shared_ptr<BaseProtocol> protocol, const SslContext& context,
                                               const StartTlsOptions& options);

  template <class Factory>
  auto connect_read_pipe(Factory factory, int fd);
  template <class Factory>
  auto connect_write_pipe(Factory factory, int fd);
  template <class Factory>
  auto subprocess_exec(Factory factory, std::vector<std::string> args);
  template <class Factory>
  auto subprocess_exec(Factory factory, std::vector<std::string> args, const SubprocessOptions& options);
  template <class Factory>
  auto subprocess_shell(Factory factory, std::string command);
  template <class Factory>
  auto subprocess_shell(Factory factory, std::string command, SubprocessOptions options);

  /// As tulp::sendfile(), in a task of its own; cancelling the Future cancels that.  The file stays open until then.
  Future<std::uint64_t> sendfile(std::shared_ptr<Transport> transport, int file, std::uint64_t offset = 0,
                                 std::optional<std::uint64_t> count = std::nullopt);
  Future<std::uint64_t> sendfile(std::shared_ptr<Transport> transport, int file, std::uint64_t offset,
                                 std::optional<std::uint64_t> count, const SendfileOptions& options);

  // Names, looked up on a few threads that nothing else uses.  What needs no look-up needs no thread: a numeric address.
  // Cancelling such a Future ends it at once, and leaves others that wait for the same answer alone.  Defined on floor 6.

  /// What `host` stands for, as addresses with `port`, in the system's order and without repetition; at least one.  An
  /// empty host is this machine: every address of it with AI_PASSIVE, else the loopback ones.  A question that is being
  /// asked already is not asked again.  The Future's error: ResolveError, OsError.
  /// Source: PEP 3156 "Internet name lookups"; getaddrinfo(3), whose short and padded numbers ("127.1") are refused here.
  Future<std::vector<AddressInfo>> getaddrinfo(std::string host, std::uint16_t port);
  Future<std::vector<AddressInfo>> getaddrinfo(std::string host, std::uint16_t port, const AddressInfoOptions& options);
  /// With the port of a service: "https", or a number; an empty one is port 0.
  Future<std::vector<AddressInfo>> getaddrinfo(std::string host, std::string service);
  Future<std::vector<AddressInfo>> getaddrinfo(std::string host, std::string service,
                                               const AddressInfoOptions& options);
  /// The names of an address and its port, or their numbers where they have none or `flags` (NI_*) ask for those.
  /// The Future's error: ResolveError, OsError.  Source: as getaddrinfo(); getnameinfo(3).
  Future<NameInfo> getnameinfo(const Address& address, int flags = 0);

  // The core: what a loop must do.  Called by tasks, timers and transports, and implemented by each loop.

  /// Queues `entry`, before a run behind what post_threadsafe() was given.  Cannot fail; a closed loop discards it.
  void post(Runnable& entry) noexcept {
    if (open_queue_ != nullptr) [[likely]]
      open_queue_->push(entry);
    else
      enqueue(entry);
  }
  /// What post() does, unless the loop has opened its queue by its RunScope.
  virtual void enqueue(Runnable& entry) noexcept = 0;
  /// As post(), from any thread, and wakes the loop.  False if the loop is closed; the entry is then still the caller's.
  virtual bool post_threadsafe(Runnable& entry) noexcept = 0;
  /// Takes the oldest entry off the queue if it is a task's step that this iteration would run anyway; else null.  A task
  /// that parks goes straight on to it.
  Runnable* next_task_step() noexcept {
    if (open_queue_ != nullptr && !is_debug_)
      if (Runnable* const step = open_queue_->pop_task_step()) return step;
    return take_task_step();
  }
  /// What next_task_step() is likely to return next; null if that is not known.
  const Runnable* upcoming_task_step() const noexcept {
    return open_queue_ != nullptr ? open_queue_->front_task_step() : nullptr;
  }
  /// What next_task_step() does where no queue is open, or the batch in it has come to its end or to another kind of entry.
  /// A loop that does not want tasks to go straight on to others returns null always, and opens no queue.
  virtual Runnable* take_task_step() noexcept { return nullptr; }
  /// Queues `timer`'s target at timer.when(), unless it is queued already, and after those that are due at the same time
  /// and were started before.
  virtual void start_timer(Timer& timer) = 0;
  /// Does nothing if the timer is not scheduled.
  virtual void stop_timer(Timer& timer) noexcept = 0;
  /// Begins to watch watch.fd().  Throws: OsError - the descriptor cannot be watched; InvalidStateError - it is watched.
  virtual void add_fd(FdWatch& watch) = 0;
  /// What `watch` is armed for has changed.  Not called for watches that the loop has marked as edge-triggered.
  virtual void update_fd(FdWatch& watch) noexcept = 0;
  /// After this the loop does not touch `watch`, not even for events that it has fetched already.
  virtual void remove_fd(FdWatch& watch) noexcept = 0;
  /// Whether a watch of this number has been added.
  virtual bool is_watched(int fd) const noexcept = 0;
  /// What receives and sends by itself; null where connections are told when they can do it.
  virtual detail::Ring* ring() noexcept { return nullptr; }

  // What the library's own upper floors keep in a loop.

  template <class Service, class... Args>
  Service& service(Args&&... args);
  void defer(detail::Deferred& work) noexcept { deferred_.push_back(work); }
  /// Cancels the tasks, closes listeners and transports and runs the loop until all of that has ended, for at most
  /// `limit` each; then aborts transports, and names and leaks tasks that have not ended.
  void shut_down(Duration limit);
  /// A loop calls this after each batch of entries, before it waits; a task that parks calls it too.
  void run_deferred() noexcept {
    while (!deferred_.empty()) deferred_.pop_front().run_deferred();
  }
  /// For other threads that have something for this loop, which may have gone by then.
  const std::shared_ptr<detail::LoopLink>& link() const noexcept { return link_; }
  /// Another thread is going to post something to this loop.  Where time is virtual it stands still until that has come.
  void expect_post() noexcept { ++expected_post_count_; }
  void end_expected_post() noexcept { --expected_post_count_; }
  bool is_expecting_post() const noexcept { return expected_post_count_ > 0; }
  detail::IntrusiveList<detail::TaskControl>& tasks() noexcept { return tasks_; }
  bool has_tasks() const noexcept { return !tasks_.empty(); }
  /// The loop's clock as it was a short while ago, for what need not be exact: cheap.
  TimePoint recent_time() const { return recent_time_ != TimePoint() ? recent_time_ : time(); }
  std::uint64_t next_task_number() noexcept { return ++last_task_number_; }
  /// Throws: InvalidStateError - the loop is closed or the parent process's, or, in debug mode, this is not its thread.
  void check_usable() const {
    if (needs_check_) [[unlikely]]
      check_usable_slowly();
  }
  /// True in a process that was forked from the loop's own.  The two share what lies behind the loop's descriptors, so
  /// the child may do nothing with such a loop but forget it: it makes one of its own.
  bool belongs_to_parent() const noexcept { return belongs_to_parent_; }
  /// Called in the child, right after fork(), for every loop that the parent had.
  void leave_to_parent() noexcept;

 protected:
  EventLoop();

  /// Marks the loop as running in this thread, for as long as run_forever() is inside.
  /// Meanwhile what is posted goes straight into `open_queue`, unless that is null.
  /// Throws: as run_forever().
  class RunScope {
   public:
    explicit RunScope(EventLoop& loop, RunQueue* open_queue = nullptr);
    RunScope(const RunScope&) = delete;
    RunScope& operator=(const RunScope&) = delete;
    ~RunScope();

   private:
    EventLoop& loop_;
    int thread_cancel_state_ = 0;
  };
  /// A loop may tell in each iteration what time it is.
  void set_recent_time(TimePoint now) noexcept { recent_time_ = now; }
  /// How a loop runs an entry of its queue.
  void run(Runnable& entry) noexcept {
    if (is_debug_) [[unlikely]]
      run_with_watch(entry);
    else
      entry.run();
  }
  /// In a process that has just been forked: run_forever(), if it is inside, has to return without running or touching
  /// anything more.
  virtual void on_fork() noexcept {}
  /// Last thing in run_forever().
  /// Throws: InvalidStateError - this is a child process, and the loop its parent's.
  void check_not_forked() const;

  /// First thing in close(): false if the loop was closed before, or is the parent process's.  Ends tasks, listeners and
  /// transports, as the end of run() does, which may run the loop once more.
  /// Throws: InvalidStateError - the loop runs.
  bool begin_close();
  /// Destroys the services, the youngest first.  Call it while the loop can still remove descriptors.
  void destroy_services() noexcept;

 private:
  struct ServiceEntry {
    const void* key;
    std::unique_ptr<detail::LoopService> service;
  };
  template <class Service>
  static inline const char service_key = 0;

  void shut_down_services(detail::LoopService::Shutdown phase);
  bool is_quiet() const;
  void end_tasks(Duration limit);
  void end_services(Duration limit);
  template <class Bound>
  TimerHandle call_timed(TimePoint when, const void* caller, Bound bound);
  void check_usable_slowly() const;
  void update_needs_check() noexcept { needs_check_ = is_closed_ || is_debug_ || belongs_to_parent_; }
  void run_with_watch(Runnable& entry) noexcept;
  [[noreturn]] static void throw_closed();
  [[noreturn]] static void throw_not_ours();
  bool is_ours() const noexcept { return !is_closed_ && !belongs_to_parent_; }
  detail::LoopService* find_service(const void* key) const noexcept;
  detail::FdCallbacks& fd_callbacks();
  void add_fd_callback(int fd, Direction direction, const void* caller, detail::UniqueFunction<void()> callback);
  bool remove_fd_callback(int fd, Direction direction);
  void add_signal_callback(int signal, const void* caller, detail::UniqueFunction<void()> callback);

  RunQueue* open_queue_ = nullptr;  // while the loop runs, of one that has no more to do for an entry than to queue it
  std::atomic<bool> is_running_ = false;
  bool is_closed_ = false;
  bool is_debug_ = false;
  bool belongs_to_parent_ = false;
  bool needs_check_ = false;  // one of these three
  Duration slow_callback_duration_ = std::chrono::milliseconds(100);
  std::thread::id thread_;  // the one that runs the loop, or ran it last
  std::uint64_t last_task_number_ = 0;
  TimePoint recent_time_{};
  detail::IntrusiveList<detail::Deferred> deferred_;
  detail::IntrusiveList<detail::TaskControl> tasks_;  // begun and not ended; the loop owns them
  ExceptionHandler exception_handler_;
  std::vector<ServiceEntry> services_;
  std::shared_ptr<detail::LoopLink> link_ = std::make_shared<detail::LoopLink>(*this);
  int expected_post_count_ = 0;
};

/// A way to wait for descriptors.  epoll and kqueue scale, and are there on Linux and on the BSDs; poll and select are
/// everywhere, and look at every descriptor each time; select holds none above 1023 (FD_SETSIZE).
///
/// io_uring does more than wait: it receives and sends what connections exchange, many small messages in one system call.  It
/// takes Linux 6.1, which must allow it, no host, and one thread: the loop runs where it ran first.  What is written is sent
/// when the loop next waits or stops, or a message of a later clock tick follows; drain(), write_eof() and close() do not wait
/// for that.  Connecting begins with that wait, too.  So a callback that goes on for long after Transport::write() holds it
/// back, and exit() in its middle loses it.  An error of sending, too, shows in that turn of the loop, in the next write or
/// drain(), or in connection_lost(): not in the call that wrote.
enum class SelectorKind : std::uint8_t { best, epoll, poll, select, kqueue, io_uring };

struct LoopOptions {
  /// `best` is what the environment variable TULP_SELECTOR names, else the fastest that the system has.  One that it does
  /// not have makes new_event_loop() throw std::invalid_argument, and one that the kernel refuses OsError.
  SelectorKind selector = SelectorKind::best;
  /// While a callback or a task holds up the loop for longer than this, its stack goes to the log (see set_log_sink), once
  /// for each time.  Zero is what the environment variable TULP_WATCHDOG says, in milliseconds, else never.  It takes a
  /// thread, and the signal SIGURG, which interrupts what blocks as any signal does.
  Duration watchdog = Duration::zero();
  /// For so long a loop that has nothing to do asks the system again and again before it lets the thread sleep: it hears
  /// some microseconds sooner of what comes in that time, and keeps a processor busy for it.  Zero is what the environment
  /// variable TULP_SPIN says, in microseconds, else it sleeps at once.
  Duration spin = Duration::zero();
};

/// The loop that runs in this thread; else the one that was set for it; else, on the main thread, one that the policy
/// makes and owns.  Throws: InvalidStateError - there is none.  Source: PEP 3156 "Event Loop Policy".
EventLoop& get_event_loop();
/// The loop that runs in this thread, or null.
EventLoop* get_running_loop() noexcept;
/// Sets this thread's loop, which stays the caller's; null takes it away.
void set_event_loop(EventLoop* loop);
/// Makes a loop, as the policy says.
std::unique_ptr<EventLoop> new_event_loop(LoopOptions options = {});

/// Decides which loop a thread has and how one is made: the only thing that is global.  Thread: its methods are called
/// from any.  Source: PEP 3156 "Event Loop Policy".
class EventLoopPolicy {
 public:
  virtual ~EventLoopPolicy();
  /// The loop that is set for this thread, or made for it.  Throws: InvalidStateError - there is none.
  virtual EventLoop& get_event_loop();
  virtual void set_event_loop(EventLoop* loop);
  virtual std::unique_ptr<EventLoop> new_event_loop(const LoopOptions& options);

 private:
  std::unique_ptr<EventLoop> main_loop_;
};

EventLoopPolicy& get_event_loop_policy();
/// Null brings back the default.
void set_event_loop_policy(std::unique_ptr<EventLoopPolicy> policy);

template <class F, class... Args>
Handle EventLoop::call_soon(F&& f, Args&&... args) {
  const void* caller = TULP_CALLER;
  check_usable();
  auto bound = detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...);
  auto* callback = new detail::CallbackOf<detail::Callback, decltype(bound)>(*this, caller, std::move(bound));
  Handle handle(detail::Ref<detail::Callback>::adopt(callback));
  post(*callback);
  return handle;
}

template <class F, class... Args>
TimerHandle EventLoop::call_later(Duration delay, F&& f, Args&&... args) {
  return call_timed(after(time(), delay), TULP_CALLER,
                    detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F, class... Args>
TimerHandle EventLoop::call_at(TimePoint when, F&& f, Args&&... args) {
  return call_timed(when, TULP_CALLER, detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class Bound>
TimerHandle EventLoop::call_timed(TimePoint when, const void* caller, Bound bound) {
  check_usable();
  auto* callback = new detail::CallbackOf<detail::TimedCallback, Bound>(*this, caller, std::move(bound));
  TimerHandle handle(detail::Ref<detail::TimedCallback>::adopt(callback));
  auto for_the_loop = detail::Ref<detail::Callback>::adopt(callback);
  callback->set_when(when);
  start_timer(*callback);
  for_the_loop.release();
  return handle;
}

template <class F, class... Args>
Handle EventLoop::call_soon_threadsafe(F&& f, Args&&... args) {
  auto bound = detail::bind_once(std::forward<F>(f), std::forward<Args>(args)...);
  auto* callback = new detail::CallbackOf<detail::Callback, decltype(bound)>(*this, TULP_CALLER, std::move(bound));
  Handle handle(detail::Ref<detail::Callback>::adopt(callback));
  if (get_running_loop() == this) {
    post(*callback);  // in turn with what this thread gives to call_soon()
  } else if (!post_threadsafe(*callback)) {
    callback->discard();
    throw_closed();
  }
  return handle;
}

template <class F, class... Args>
void EventLoop::add_reader(int fd, F&& f, Args&&... args) {
  add_fd_callback(fd, Direction::read, TULP_CALLER,
                  detail::bind_repeated(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F, class... Args>
void EventLoop::add_writer(int fd, F&& f, Args&&... args) {
  add_fd_callback(fd, Direction::write, TULP_CALLER,
                  detail::bind_repeated(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F, class... Args>
void EventLoop::add_signal_handler(int signal, F&& f, Args&&... args) {
  add_signal_callback(signal, TULP_CALLER, detail::bind_repeated(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class Service, class... Args>
Service& EventLoop::service(Args&&... args) {
  if (detail::LoopService* found = find_service(&service_key<Service>)) return static_cast<Service&>(*found);
  auto made = std::make_unique<Service>(*this, std::forward<Args>(args)...);
  Service& made_service = *made;
  services_.push_back({&service_key<Service>, std::move(made)});
  return made_service;
}

}  // namespace tulp
