// The typeinfo of ThrowWatch, under the name by which the compiler refers to it.  Put together by hand, as the compiler
// does it for its own: so it needs no constructor, and is there before the first one of the program runs.  This file
// must not see the two classes: their symbols are data here.
#include <cstddef>

#ifdef __GLIBCXX__

extern "C" const void* const throw_watch_vtable[8] asm("_ZTVN4tulp6detail14ThrowWatchTypeE");

struct ThrowWatchTypeinfo {
  const void* const* vtable;
  const char* name;
};

extern "C" constinit const ThrowWatchTypeinfo throw_watch_typeinfo asm("_ZTIN4tulp6detail10ThrowWatchE");

// Behind the offset to the top and the typeinfo's own typeinfo.
constinit const ThrowWatchTypeinfo throw_watch_typeinfo = {throw_watch_vtable + 2, "N4tulp6detail10ThrowWatchE"};

#endif
