// RoomyPack: a listpack with unused bytes in front of it in its block, for the ends of lists: what
// comes in front, or goes from there, moves the six bytes of the header and nothing else.
//
//   block  [ room | listpack | rest ]      usable_size(room + listpack) bytes
//
// Without room the block is a Listpack's. It must be so, by close(), before anything is changed
// that has no function here; that moves the listpack once.
//
// Cost: O(bytes of the element). Where room is missing the listpack is moved and gets half of the
// rest, or a block of the next size class: a few moves for every fifth that it grows.
#pragma once

#include "data/listpack.h"

namespace quoll::data {

// Does not own the block: the node does that holds both.
struct RoomyPack {
  char* block;
  uint32_t room;

  base::Bytes bytes() const { return Listpack::bytes_of(block + room); }
  size_t footprint() const { return base::usable_size(room + bytes().size()); }

  // `text` must not point into the block, and the listpack must stay within kListpackBytesMax.
  void prepend(base::Bytes text);
  void drop_first();
  void drop_last();
  void close();
  void destroy() { base::release(block, footprint()); }

 private:
  void make_room(size_t wanted);
};

}  // namespace quoll::data
