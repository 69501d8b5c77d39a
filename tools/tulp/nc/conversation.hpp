// Conversation: standard input and output, joined to one peer after another.
#pragma once
#include <tulp/datagram_socket.hpp>
#include <tulp/stream.hpp>
#include <tulp/timeout.hpp>

#include <optional>

#include "relay.hpp"

namespace tool::nc {

struct ConversationOptions {
  /// Says to the peer that standard input has ended.
  bool tells_end = false;
  /// The peer's end is the end, whatever a pipe on standard input may have to say later.
  bool ends_with_peer = false;
  /// How long nobody may say anything.
  tulp::Duration idle_limit = tulp::Duration::max();
};

class Conversation {
 public:
  explicit Conversation(const ConversationOptions& options);

  /// Parks: until both sides have ended, or for the peer alone if a person at a terminal, of whom nobody knows when, would
  /// be waited for; or until nobody has said anything for too long, which is no error.
  /// Throws: WriteError - standard output; Failure - anything else.
  void hold(tulp::Streams& peer);
  /// The same with datagrams, which have no end: one for each piece that is read.  They go to `peer`, or, without one, to
  /// where the socket is connected to; what others send is passed over, unless `takes_all`: then the last one is the peer.
  void hold(tulp::DatagramSocket& socket, std::optional<tulp::Address> peer, bool takes_all);
  void print(std::string_view data);
  /// Parks: until everything is written.  Throws: WriteError.
  void finish();

 private:
  void talk(tulp::Streams& peer, tulp::Timeout& limit);
  void send_what_is_there(tulp::StreamWriter& peer);
  void note_sign_of_life(tulp::Timeout& limit) const;
  [[noreturn]] static void fail_to_write(const tulp::OsError& error);

  const ConversationOptions options_;
  const bool is_terminal_;
  tulp::StreamReader input_;
  tulp::StreamWriter output_;
};

}  // namespace tool::nc
