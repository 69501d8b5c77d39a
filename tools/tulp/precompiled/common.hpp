// What nearly every subcommand includes, read once; a file includes what it needs all the same, as a build with -Db_pch=false
// shows.
#include <tulp/tulp.hpp>

#include <CLI/CLI.hpp>
