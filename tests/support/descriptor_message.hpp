// DescriptorMessage: what sendmsg(2) takes to pass a descriptor along with some bytes.
#pragma once
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstring>
#include <string_view>

namespace tulp::test {

class DescriptorMessage {
 public:
  DescriptorMessage(std::string_view text, int descriptor) : view_{const_cast<char*>(text.data()), text.size()} {
    message_.msg_iov = &view_;
    message_.msg_iovlen = 1;
    message_.msg_control = control_;
    message_.msg_controllen = sizeof control_;
    cmsghdr* header = CMSG_FIRSTHDR(&message_);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  }
  DescriptorMessage(const DescriptorMessage&) = delete;
  DescriptorMessage& operator=(const DescriptorMessage&) = delete;

  const msghdr* get() const { return &message_; }

 private:
  alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(int))] = {};
  iovec view_;
  msghdr message_{};
};

}  // namespace tulp::test
