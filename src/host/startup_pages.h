// Gives back the memory that only starting needed: pages of the program and its libraries that were
// read for linking and initialisation. Two thirds of an idle process are such pages.
#pragma once

#include <cstddef>

namespace quoll::host {

// Once, when the start is over. What is needed after all comes back from the page cache by a minor
// fault. Returns how many bytes of address space were let go.
size_t give_back_startup_pages();

}  // namespace quoll::host
