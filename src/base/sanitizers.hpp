// TULP_ASAN, TULP_TSAN: whether this is compiled for AddressSanitizer or ThreadSanitizer.  Floor 1, base.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define TULP_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TULP_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define TULP_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TULP_TSAN 1
#endif
#endif
