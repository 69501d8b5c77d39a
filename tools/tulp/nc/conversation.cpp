#include "nc/conversation.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <tulp/error.hpp>
#include <tulp/task_group.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "exit_code.hpp"
#include "output.hpp"

namespace tool::nc {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t buffer_bytes = 64 * 1024;
/// What netcats put into one; networks without jumbo frames carry it in pieces.
constexpr std::size_t datagram_bytes = 16 * 1024;
constexpr std::size_t longest_datagram_bytes = 64 * 1024;

/// If our parent has closed it, what ends at once.
tulp::StreamReader open_input() {
  const int flags = ::fcntl(STDIN_FILENO, F_GETFL);
  if ((flags & O_ACCMODE) != O_WRONLY) return tulp::open_stdin();
  return tulp::open_read_pipe(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

[[noreturn]] void fail(ExitCode code, const std::exception_ptr& error, const std::string& where = "") {
  throw Failure(code, where + tulp::describe(error));
}

}  // namespace

Conversation::Conversation(const ConversationOptions& options)
    : options_(options), is_terminal_(::isatty(STDIN_FILENO) == 1), input_(open_input()), output_(tulp::open_stdout()) {
  output_.transport().set_write_buffer_limits({.high_bytes = 0, .low_bytes = 0});
}

void Conversation::note_sign_of_life(tulp::Timeout& limit) const {
  if (!options_.idle_limit.is_never()) limit.reschedule(options_.idle_limit);
}

void Conversation::hold(tulp::Streams& peer) {
  try {
    tulp::with_timeout(options_.idle_limit, [&](tulp::Timeout& limit) { talk(peer, limit); });
  } catch (const tulp::TimeoutError&) {
  }
  peer.writer.close();
  try {
    peer.writer.wait_closed();
  } catch (const std::exception&) {
    fail(ExitCode::send_error, std::current_exception());
  }
}

void Conversation::talk(tulp::Streams& peer, tulp::Timeout& limit) {
  RelayEnd sent, received;
  const auto on_read = [] {};
  tulp::with_task_group([&](tulp::TaskGroup& group) {
    group.create_task([&] {
      sent = relay(input_, peer.writer, buffer_bytes, on_read, [&](std::size_t) { note_sign_of_life(limit); });
      if (sent.how == RelayEnd::How::at_end && options_.tells_end) end_writing(peer.writer);
    });
    received = relay(peer.reader, output_, buffer_bytes, on_read, [&](std::size_t) {
      output_.drain();  // a person reads it
      note_sign_of_life(limit);
    });
    if (received.how != RelayEnd::How::at_end || is_terminal_ || options_.ends_with_peer) group.cancel();
  });
  if (received.how == RelayEnd::How::cannot_write) {
    try {
      std::rethrow_exception(received.error);
    } catch (const tulp::OsError& error) {
      fail_to_write(error);
    }
  }
  if (received.how == RelayEnd::How::cannot_read) fail(ExitCode::receive_error, received.error);
  if (sent.how == RelayEnd::How::cannot_read) fail(ExitCode::failed, sent.error, "stdin: ");
  if (sent.how == RelayEnd::How::cannot_write) fail(ExitCode::send_error, sent.error);
  if (options_.ends_with_peer && !is_terminal_) send_what_is_there(peer.writer);
}

/// What was given to us before the peer ended shall reach it, and a file is there as a whole.
void Conversation::send_what_is_there(tulp::StreamWriter& peer) {
  input_.set_read_timeout(0s);
  const RelayEnd end = relay(
      input_, peer, buffer_bytes, [] {}, [](std::size_t) {});
  input_.set_read_timeout(tulp::Duration::max());
  if (end.how == RelayEnd::How::cannot_write) fail(ExitCode::send_error, end.error);
}

void Conversation::hold(tulp::DatagramSocket& socket, std::optional<tulp::Address> peer, bool takes_all) {
  const auto send = [&](tulp::Timeout& limit) {
    const auto buffer = std::make_unique_for_overwrite<char[]>(datagram_bytes);
    while (const std::size_t size = input_.read_into({buffer.get(), datagram_bytes})) {
      socket.sendto({buffer.get(), size}, peer.value_or(tulp::Address()));
      note_sign_of_life(limit);
    }
  };
  const auto receive = [&](tulp::Timeout& limit) {
    const auto buffer = std::make_unique_for_overwrite<char[]>(longest_datagram_bytes);
    for (;;) {
      const auto received = socket.recvfrom_into({buffer.get(), longest_datagram_bytes});
      if (takes_all) peer = received.address;
      if (peer && received.address != *peer) continue;
      print({buffer.get(), received.size});
      note_sign_of_life(limit);
    }
  };
  std::exception_ptr error;
  try {
    tulp::with_timeout(options_.idle_limit, [&](tulp::Timeout& limit) {
      tulp::with_task_group([&](tulp::TaskGroup& group) {
        const auto guarded = [&](auto work) {
          try {
            work(limit);
          } catch (const std::exception&) {
            error = std::current_exception();
            group.cancel();
          }
        };
        group.create_task([&] { guarded(send); });
        guarded(receive);
      });
    });
  } catch (const tulp::TimeoutError&) {
  }
  if (!error) return;
  try {
    std::rethrow_exception(error);
  } catch (const tulp::ConnectionRefusedError&) {
    fail(ExitCode::not_connected, error);
  } catch (const tulp::OsError&) {
    fail(ExitCode::receive_error, error);
  }
}

void Conversation::print(std::string_view data) {
  try {
    output_.write(data);
    output_.drain();
  } catch (const tulp::OsError& error) {
    fail_to_write(error);
  }
}

void Conversation::finish() {
  try {
    output_.close();
    output_.wait_closed();
  } catch (const tulp::OsError& error) {
    fail_to_write(error);
  }
}

void Conversation::fail_to_write(const tulp::OsError& error) { throw WriteError(error.code().value(), "stdout"); }

}  // namespace tool::nc
