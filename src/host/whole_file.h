// Whole small files over the asynchronous Disk: reading one, and replacing one so that a crash at
// any moment leaves either the old or the new content.
//
//   replace:  write `temporary` -> fsync -> rename over `path` -> fsync of the directory
//
// Cost: a few requests of the disk's thread pool; the content is held in memory once.
#pragma once

#include "host/host.h"

namespace quoll::host {

// The content; the error is the system's words ("No such file or directory").
void read_whole_file(Disk& disk, const std::string& path, OnBytes done);

// `temporary` must be in the same directory; it is removed when a step fails.
void replace_whole_file(Disk& disk, const std::string& path, const std::string& temporary,
                        std::string content, OnDone done);

}  // namespace quoll::host
