// connecting: what keeps a connection from coming about, as a Failure.
#pragma once
#include <tulp/error.hpp>

#include <cerrno>
#include <string>
#include <utility>

#include "exit_code.hpp"

namespace tool {

/// What `connect()` returns.  `timed_out` is what a TimeoutError means, if that has no better words for it.
/// Throws: Failure - of whichever kind.
template <class F>
auto connecting(F&& connect, const std::string& timed_out = {}) {
  try {
    return std::forward<F>(connect)();
  } catch (const tulp::SslCertificateError& error) {
    throw Failure(ExitCode::not_trusted, error.what());
  } catch (const tulp::SslError& error) {
    throw Failure(ExitCode::tls_failed, error.what());
  } catch (const tulp::ResolveError& error) {
    throw Failure(ExitCode::unknown_host, error.what());
  } catch (const tulp::TimeoutError& error) {
    throw Failure(ExitCode::timed_out, timed_out.empty() ? error.what() : timed_out);
  } catch (const tulp::ConnectionAbortedError& error) {  // as asyncio calls a handshake that takes too long
    throw Failure(ExitCode::timed_out, error.what());
  } catch (const tulp::OsError& error) {
    throw Failure(error.code().value() == ETIMEDOUT ? ExitCode::timed_out : ExitCode::not_connected, error.what());
  }
}

}  // namespace tool
