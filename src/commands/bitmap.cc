// The bitmap family: its rows. Handlers are in bitmap_*.cc, see bitmap_family.h.
#include "commands/bitmap_family.h"
#include "commands/families.h"

namespace quoll::commands {
namespace {

using namespace server;

constexpr CommandSpec kBitmapCommands[] = {
    {.name = "setbit",
     .arity = 4,
     .run = bitmaps::setbit,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::first(kKeyRw | kKeyAccess | kKeyUpdate),
     .flags = kDenyOom,
     .group = "bitmap",
     .since = "2.2.0",
     .summary = "Sets one bit of a string and returns what it was.",
     .complexity = "O(1)",
     .syntax = "key offset value:integer"},
    {.name = "getbit",
     .arity = 3,
     .run = bitmaps::getbit,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .flags = kFast,
     .group = "bitmap",
     .since = "2.2.0",
     .summary = "Returns one bit of a string.",
     .complexity = "O(1)",
     .syntax = "key offset"},
    {.name = "bitcount",
     .arity = -2,
     .run = bitmaps::bitcount,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "bitmap",
     .since = "2.6.0",
     .summary = "Counts the bits that are set in a string or in a part of it.",
     .complexity = "O(N) where N is the number of bytes.",
     .syntax = "key [start end [BYTE | BIT]]"},
    {.name = "bitpos",
     .arity = -3,
     .run = bitmaps::bitpos,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .group = "bitmap",
     .since = "2.8.7",
     .summary = "Finds the first bit that is set, or clear, in a string or in a part of it.",
     .complexity = "O(N) where N is the number of bytes.",
     .syntax = "key bit [start [end [BYTE | BIT]]]"},
    {.name = "bitop",
     .arity = -4,
     .run = bitmaps::bitop,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = {{keys::at(2, kKeyOw | kKeyUpdate), keys::rest(3, kKeyRo | kKeyAccess).specs[0]}},
     .flags = kDenyOom,
     .group = "bitmap",
     .since = "2.6.0",
     .summary = "Combines strings bit by bit and stores the result.",
     .complexity = "O(N) where N is the number of bytes.",
     .syntax = "operation destkey key [key ...]"},
    {.name = "bitfield",
     .arity = -2,
     .run = bitmaps::bitfield,
     .access = Access::write,
     .journal = Journal::verbatim,
     .keys = keys::noted(keys::first(kKeyRw | kKeyAccess | kKeyUpdate | kKeyVariableFlags),
                         "This command allows both access and modification of the key"),
     .flags = kDenyOom,
     .group = "bitmap",
     .since = "3.2.0",
     .summary = "Reads and changes integers of any width at any bit of a string.",
     .complexity = "O(1) for each operation.",
     .syntax = "key [<GET encoding offset | {[OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset "
               "value:integer | INCRBY encoding offset increment>}> [<GET encoding offset | "
               "{[OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value:integer | INCRBY "
               "encoding offset increment>}> ...]]"},
    {.name = "bitfield_ro",
     .arity = -2,
     .run = bitmaps::bitfield_ro,
     .access = Access::read,
     .keys = keys::first(kKeyRo | kKeyAccess),
     .flags = kFast,
     .group = "bitmap",
     .since = "6.0.0",
     .summary = "Reads integers of any width at any bit of a string.",
     .complexity = "O(1) for each operation.",
     .syntax = "key [GET encoding offset [GET encoding offset ...]]"},
};
static_assert(well_formed(kBitmapCommands));

}  // namespace

Family bitmap_commands() { return kBitmapCommands; }

}  // namespace quoll::commands
