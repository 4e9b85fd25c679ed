// RdbCheck reads an RDB file for what is in it and whether it would load: version, aux fields,
// keys per database and type, their sizes and deadlines, the biggest ones, functions.
//
// It reads with the loader itself (RdbLoad), which tells it of every key and drops it, so memory is
// that of the largest value, however large the file. A key that occurs twice is not noticed.
//
// What it says is told line by line. Lines that redis-check-rdb has, too, are worded like there.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "persist/rdb_load.h"

namespace quoll::persist {

using TellLine = std::function<void(const std::string& line)>;

constexpr size_t kBiggestKeys = 5;         // named in a report
constexpr size_t kToldBytesMax = 128;      // of a name or text in a line
constexpr size_t kToldDatabasesMax = 100;  // with lines of their own

// As text on one line: unprintable bytes escaped, cut behind kToldBytesMax.
std::string told(base::Bytes bytes);
// "2026-11-21 13:30:00.000 UTC"
std::string told_instant(base::Millis unix_ms);

class RdbCheck final : public RdbVisitor {
 public:
  RdbCheck(std::string file_name, base::Millis now, TellLine tell);

  // More of the file. False: it is damaged, and that was told.
  bool feed(base::Bytes bytes);
  bool ended() const { return load_.ended(); }
  base::Bytes tail() const { return load_.tail(); }
  uint64_t offset() const { return load_.offset(); }
  // The input is over, though not ended(). False: it is damaged, and that was told.
  bool finish();
  // What was found, damaged or not.
  void report() const;

  void key(const RdbKey& key) override;
  void aux(base::Bytes name, base::Bytes value, uint64_t end) override;
  void select(store::DbIndex db, uint64_t end) override;
  void function(base::Bytes code, uint64_t end) override;
  void module_aux(base::Bytes module, uint64_t end) override;

 private:
  struct Kind {  // keys of a type in a database
    uint64_t keys = 0;
    uint64_t elements = 0;
    uint64_t bytes = 0;
  };
  struct Big {
    store::DbIndex db;
    std::string type;
    std::string name;
    uint64_t elements;
    uint64_t bytes;
  };

  void note_deadline(base::Millis deadline);
  void note_size(const RdbKey& key, const std::string& type, uint64_t elements);
  void tell_end() const;
  void tell_fault() const;
  void report_keys() const;
  void tell(uint64_t offset, const std::string& text) const;

  std::string file_name_;
  base::Millis now_;
  TellLine tell_;
  RdbLoad load_;
  std::map<std::pair<store::DbIndex, std::string>, Kind> kinds_;
  std::map<std::string, uint64_t> encodings_;
  std::vector<Big> biggest_;  // descending
  uint64_t keys_ = 0;
  uint64_t deadlines_ = 0;
  uint64_t expired_ = 0;
  base::Millis first_deadline_ = store::kNoDeadline;
  base::Millis last_deadline_ = 0;
  uint64_t timed_hashes_ = 0;  // with deadlines of fields
  uint64_t functions_ = 0;
  uint64_t module_parts_ = 0;
};

}  // namespace quoll::persist
