// IntrusiveList: a doubly linked list that allocates nothing.  Floor 1, base.
#pragma once
#include <tulp/detail/assert.hpp>

namespace tulp::detail {

/// A member of at most one IntrusiveList<Tag>.  Unlinks itself when it dies.
template <class Tag>
class ListHook {
 public:
  ListHook() = default;
  ListHook(const ListHook&) = delete;
  ListHook& operator=(const ListHook&) = delete;
  ~ListHook() { unlink(); }

  bool is_linked() const noexcept { return next_ != nullptr; }
  void unlink() noexcept {
    if (!is_linked()) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    next_ = previous_ = nullptr;
  }

 private:
  template <class T, class U>
  friend class IntrusiveList;
  ListHook* next_ = nullptr;
  ListHook* previous_ = nullptr;
};

/// T derives from ListHook<Tag>.  The list owns nothing; a list that dies leaves its members unlinked.
template <class T, class Tag = T>
class IntrusiveList {
  using Hook = ListHook<Tag>;

 public:
  IntrusiveList() noexcept { reset(); }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (!empty()) head_.next_->unlink();
    head_.next_ = head_.previous_ = nullptr;
  }

  bool empty() const noexcept { return head_.next_ == &head_; }
  bool has_one() const noexcept { return !empty() && head_.next_ == head_.previous_; }
  T& front() noexcept { return static_cast<T&>(*head_.next_); }
  T& back() noexcept { return static_cast<T&>(*head_.previous_); }

  void push_back(T& item) noexcept {
    Hook& hook = item;
    TULP_ASSERT(!hook.is_linked());
    hook.next_ = &head_;
    hook.previous_ = head_.previous_;
    head_.previous_->next_ = &hook;
    head_.previous_ = &hook;
  }
  T& pop_front() noexcept {
    T& item = front();
    static_cast<Hook&>(item).unlink();
    return item;
  }
  /// Takes over every member of `other`, in order; this list must be empty.
  void take(IntrusiveList& other) noexcept {
    if (other.empty()) return;
    head_.next_ = other.head_.next_;
    head_.previous_ = other.head_.previous_;
    head_.next_->previous_ = head_.previous_->next_ = &head_;
    other.reset();
  }
  /// Calls `visit` with each member; `visit` may unlink the one that it is given.
  template <class Visit>
  void for_each(Visit visit) {
    for (Hook* hook = head_.next_; hook != &head_;) {
      Hook* next = hook->next_;
      visit(static_cast<T&>(*hook));
      hook = next;
    }
  }

 private:
  void reset() noexcept { head_.next_ = head_.previous_ = &head_; }
  Hook head_;  // next_ is the first member, previous_ the last
};

}  // namespace tulp::detail
