// connecting: what keeps us from a connection, as a Failure.
#pragma once
#include <tulp/error.hpp>

#include <cerrno>

#include "exit_code.hpp"

namespace tool::bench {

/// Calls `open`.  Throws: Failure - of whichever kind.
template <class F>
auto connecting(F open) {
  try {
    return open();
  } catch (const tulp::SslCertificateError& error) {
    throw Failure(ExitCode::not_trusted, error.what());
  } catch (const tulp::SslError& error) {
    throw Failure(ExitCode::tls_failed, error.what());
  } catch (const tulp::ResolveError& error) {
    throw Failure(ExitCode::unknown_host, error.what());
  } catch (const tulp::TimeoutError&) {
    throw Failure(ExitCode::timed_out, "connecting took too long");
  } catch (const tulp::OsError& error) {
    throw Failure(error.code().value() == ETIMEDOUT ? ExitCode::timed_out : ExitCode::not_connected, error.what());
  }
}

}  // namespace tool::bench
