// SocketDatagramTransport: the one implementation of DatagramTransport.  Floor 6, transports.
#pragma once
#include <tulp/datagram_transport.hpp>
#include <tulp/event_loop.hpp>

#include <memory>
#include <string>
#include <string_view>

#include "transports/datagram_channel.hpp"
#include "transports/datagram_queue.hpp"
#include "transports/member_event.hpp"
#include "transports/open_transports.hpp"
#include "transports/water_marks.hpp"

namespace tulp::detail {

class SocketDatagramTransport final : public DatagramTransport,
                                      public std::enable_shared_from_this<SocketDatagramTransport>,
                                      public OpenTransport {
 public:
  /// Calls protocol.connection_made in the next iteration, and begins to receive after that.
  /// Throws: OsError - the socket cannot be watched; std::invalid_argument - the protocol is null.
  static std::shared_ptr<SocketDatagramTransport> open(EventLoop& loop, OpenedDatagramSocket socket,
                                                       std::shared_ptr<DatagramProtocol> protocol);
  SocketDatagramTransport(EventLoop& loop, OpenedDatagramSocket socket, std::shared_ptr<DatagramProtocol> protocol);

  void sendto(std::string_view data, const Address& addr) override;
  void close() override;
  void abort() override;
  bool is_closing() const noexcept override { return state_ != State::open; }
  void set_protocol(std::shared_ptr<BaseProtocol> protocol) override;
  std::shared_ptr<BaseProtocol> get_protocol() const override { return protocol_; }
  void set_write_buffer_limits(WriteBufferLimits limits) override;
  WriteBufferLimits get_write_buffer_limits() const noexcept override { return marks_.limits(); }
  std::size_t get_write_buffer_size() const noexcept override { return queue_.size_bytes(); }
  void join_group(const MulticastGroup& group) override;
  void leave_group(const MulticastGroup& group) override;
  std::any get_extra_info(std::string_view key) const override { return channel_.get_extra_info(key); }
  std::string peer() const override { return channel_.peer(); }

 private:
  enum class State : std::uint8_t {
    open,
    closing,  // close() was called; the queue is being sent
    lost,     // connection_lost is on its way
    gone,     // connection_lost has run
  };
  using Event = MemberEvent<SocketDatagramTransport>;

  void on_made();
  void on_readable();
  void on_writable();
  void on_lost();

  void go_on_reading();
  std::size_t receive_some();
  void deliver(const DatagramBatch::Datagram& datagram);
  void on_receive_failed(int error);
  bool send_now(std::string_view data, const Address& to);
  void send_queue();
  void on_send_failed(int error);
  void wait_until_writable();
  void wait_for_room();
  void on_queue_shrunk();
  void check_high_water();
  void check_open(const char* method) const;
  void tell_error(std::exception_ptr error);
  void lose(std::exception_ptr error);
  template <class Call>
  std::exception_ptr guarded(const char* method, Call call) noexcept {
    return call_protocol(channel_.loop(), protocol_, method, std::move(call));
  }

  DatagramChannel channel_;
  State state_ = State::open;
  bool is_writing_paused_ = false;
  bool has_heard_of_another_ = false;  // the oldest one in the queue has been tried, and an earlier one's error heard
  bool was_ended_here_ = false;        // by close() or abort()
  unsigned receive_error_count_ = 0;   // in a row
  WaterMarks marks_;
  DatagramQueue queue_;
  TimerHandle retry_;
  std::shared_ptr<DatagramProtocol> protocol_;
  std::shared_ptr<SocketDatagramTransport> self_;  // the loop's ownership, until connection_lost
  std::exception_ptr lost_error_;                  // what connection_lost will say
  bool is_made_ = false;                           // connection_made has run
  Event made_{*this, &SocketDatagramTransport::on_made};
  Event readable_{*this, &SocketDatagramTransport::on_readable};
  Event writable_{*this, &SocketDatagramTransport::on_writable};
  Event lost_{*this, &SocketDatagramTransport::on_lost, Event::AtClose::call};  // connection_lost is never missing
};

}  // namespace tulp::detail
