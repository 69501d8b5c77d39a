#include <tulp/context_var.hpp>

#include <tulp/detail/task_control.hpp>

namespace tulp::detail {

std::uint64_t make_context_key() noexcept {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

std::shared_ptr<const void> find_in_context(std::uint64_t key) noexcept {
  if (!are_contexts_used.load(std::memory_order_relaxed)) return nullptr;
  const Ref<Context>& present = present_context();
  return present ? present->find(key) : nullptr;
}

std::shared_ptr<const void> set_in_context(std::uint64_t key, std::shared_ptr<const void> value) {
  if (!are_contexts_used.load(std::memory_order_acquire)) {  // whoever comes here at the same time stores the same
    find_task_context.store(context_of_running_task, std::memory_order_release);
    are_contexts_used.store(true, std::memory_order_release);
  }
  Ref<Context>& present = present_context();
  if (!present)
    present = Ref<Context>::adopt(new Context());
  else if (!present->is_unique())
    present = Ref<Context>::adopt(new Context(*present));
  auto former = present->find(key);
  present->set(key, std::move(value));
  return former;
}

}  // namespace tulp::detail
