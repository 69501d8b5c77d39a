#include <tulp/subprocess_transport.hpp>

#include <array>
#include <csignal>
#include <stdexcept>
#include <utility>

#include "process/launch.hpp"
#include "transports/member_event.hpp"
#include "transports/stream_transport.hpp"

namespace tulp {

bool SubprocessTransport::terminate() { return send_signal(SIGTERM); }
bool SubprocessTransport::kill() { return send_signal(SIGKILL); }

namespace detail {
namespace {

class ChildTransport final : public SubprocessTransport,
                             public std::enable_shared_from_this<ChildTransport>,
                             public OpenTransport {
 public:
  static std::shared_ptr<ChildTransport> open(EventLoop& loop, Launched launched, bool shares_terminal,
                                              std::shared_ptr<SubprocessProtocol> protocol);
  ChildTransport(EventLoop& loop, std::shared_ptr<Child> child, std::shared_ptr<SubprocessProtocol> protocol)
      : loop_(loop), child_(std::move(child)), protocol_(std::move(protocol)) {}

  pid_t get_pid() const noexcept override { return child_->pid(); }
  std::optional<int> get_returncode() const noexcept override { return child_->returncode(); }
  std::shared_ptr<Transport> get_pipe_transport(int fd) const override {
    return fd >= 0 && fd < pipe_count ? pipes_[static_cast<std::size_t>(fd)] : nullptr;
  }
  bool send_signal(int signal) override { return child_->send_signal(signal); }
  bool send_signal_to_group(int signal) override { return child_->send_signal_to_group(signal); }

  void close() override;
  void abort() override;
  bool is_closing() const noexcept override { return is_closing_; }
  void set_protocol(std::shared_ptr<BaseProtocol> protocol) override;
  std::shared_ptr<BaseProtocol> get_protocol() const override { return protocol_; }
  std::any get_extra_info(std::string_view key) const override;
  std::size_t get_write_buffer_size() const noexcept override { return 0; }  // the pipes speak for themselves
  std::string peer() const override { return "process " + std::to_string(child_->pid()); }

 private:
  class PipeProtocol;
  using Event = MemberEvent<ChildTransport>;
  static constexpr int pipe_count = 3;

  void connect(int fd, std::unique_ptr<ByteStream> pipe);
  void on_made();
  void on_pipe_lost(int fd, const std::exception_ptr& error);
  void on_exit();
  void end_if_over();
  void on_lost();
  template <class Call>
  std::exception_ptr guarded(const char* method, Call call) noexcept {
    return call_protocol(loop_, protocol_, method, std::move(call));
  }

  EventLoop& loop_;
  std::shared_ptr<Child> child_;
  std::shared_ptr<SubprocessProtocol> protocol_;
  std::array<std::shared_ptr<Transport>, pipe_count> pipes_;
  int open_pipe_count_ = 0;
  bool is_made_ = false;  // connection_made has run
  bool is_closing_ = false;
  bool has_exited_ = false;               // and the protocol has heard of it
  std::shared_ptr<ChildTransport> self_;  // the loop's ownership, until connection_lost
  Event made_{*this, &ChildTransport::on_made};
  Event lost_{*this, &ChildTransport::on_lost, Event::AtClose::call};  // connection_lost is never missing
};

/// Tells the child's protocol what comes of one pipe.
class ChildTransport::PipeProtocol final : public Protocol {
 public:
  PipeProtocol(std::shared_ptr<ChildTransport> owner, int fd) : owner_(std::move(owner)), fd_(fd) {}
  void data_received(std::string_view data) override { owner_->protocol_->pipe_data_received(fd_, data); }
  void pause_writing() override { owner_->protocol_->pause_writing(); }
  void resume_writing() override { owner_->protocol_->resume_writing(); }
  void connection_lost(std::exception_ptr error) override { owner_->on_pipe_lost(fd_, error); }

 private:
  std::shared_ptr<ChildTransport> owner_;
  int fd_;
};

std::shared_ptr<ChildTransport> ChildTransport::open(EventLoop& loop, Launched launched, bool shares_terminal,
                                                     std::shared_ptr<SubprocessProtocol> protocol) {
  auto transport = std::make_shared<ChildTransport>(loop, std::move(launched.child), std::move(protocol));
  transport->self_ = transport;
  transport->child_->on_exit([owner = transport.get()] { owner->on_exit(); });
  loop.service<OpenTransports>().add(*transport);
  loop.post(transport->made_);  // before those of the pipes
  for (int fd = 0; fd < pipe_count; ++fd)
    transport->connect(fd, std::move(launched.pipes[static_cast<std::size_t>(fd)]));
  if (shares_terminal) transport->pipes_[0] = transport->pipes_[1];
  return transport;
}

void ChildTransport::connect(int fd, std::unique_ptr<ByteStream> pipe) {
  if (pipe == nullptr) return;
  auto protocol = std::make_shared<PipeProtocol>(shared_from_this(), fd);
  pipes_[static_cast<std::size_t>(fd)] = StreamTransport::open(loop_, std::move(pipe), std::move(protocol));
  ++open_pipe_count_;
}

void ChildTransport::on_made() {
  is_made_ = true;
  if (guarded("connection_made", [this] { protocol_->connection_made(shared_from_this()); })) close();
  if (get_returncode()) on_exit();
}

void ChildTransport::on_pipe_lost(int fd, const std::exception_ptr& error) {
  --open_pipe_count_;
  guarded("pipe_connection_lost", [&] { protocol_->pipe_connection_lost(fd, error); });
  end_if_over();
}

void ChildTransport::on_exit() {
  if (!is_made_) return;
  has_exited_ = true;
  guarded("process_exited", [this] { protocol_->process_exited(); });
  end_if_over();
}

void ChildTransport::end_if_over() {
  if (has_exited_ && open_pipe_count_ == 0) loop_.post(lost_);
}

void ChildTransport::on_lost() {
  const auto self = std::move(self_);
  guarded("connection_lost", [this] { protocol_->connection_lost(nullptr); });
  ListHook<OpenTransport>::unlink();
  protocol_ = nullptr;
}

void ChildTransport::close() {
  is_closing_ = true;
  for (const auto& pipe : pipes_)
    if (pipe != nullptr) pipe->close();
  child_->kill();
}

/// Whatever holds up a pipe: a child that cannot be killed, or one that its own child has it from.
void ChildTransport::abort() {
  close();
  for (const auto& pipe : pipes_)
    if (pipe != nullptr) pipe->abort();
}

void ChildTransport::set_protocol(std::shared_ptr<BaseProtocol> protocol) {
  auto typed = std::dynamic_pointer_cast<SubprocessProtocol>(std::move(protocol));
  if (typed == nullptr) throw std::invalid_argument("set_protocol: no SubprocessProtocol");
  protocol_ = std::move(typed);
}

std::any ChildTransport::get_extra_info(std::string_view key) const {
  if (key == "pid") return static_cast<int>(child_->pid());
  return {};
}

}  // namespace

SubprocessStarter subprocess_starter(std::vector<std::string> args, const SubprocessOptions& options) {
  check_options(args, options);
  return [args = std::move(args), options](SubprocessProtocolFactory factory) {
    EventLoop& loop = require_task("subprocess_exec").loop();
    auto protocol = factory();
    if (protocol == nullptr) throw std::invalid_argument("the protocol factory returned null");
    auto transport =
        ChildTransport::open(loop, launch(loop, args, options), shares_terminal(options), std::move(protocol));
    const CancelShield until_connection_made_has_run;
    yield_now();
    return transport;
  };
}

std::vector<std::string> shell_args(std::string command, SubprocessOptions& options) {
  std::string shell = options.executable.empty() ? "/bin/sh" : std::exchange(options.executable, {});
  return {std::move(shell), "-c", std::move(command)};
}

}  // namespace detail
}  // namespace tulp
