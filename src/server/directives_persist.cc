// Snapshots and the append only file.
#include "server/directive.h"
#include "server/directive_special.h"

namespace quoll::server {

namespace {

constexpr int64_t kRdbVersionMin = 10;
constexpr int64_t kRdbVersionMax = 12;
constexpr int64_t kLoadingIntervalMin = 1024;
constexpr int64_t kS3PartBytesMin = int64_t{5} << 20;  // S3's own limits
constexpr int64_t kS3PartBytesMax = int64_t{5} << 30;

constexpr Bytes kOwnSyncs = "what is written is synced at its end, in the background";

constexpr ChoiceName kSanitize[] = {{"no", number(Sanitize::no)},
                                    {"yes", number(Sanitize::yes)},
                                    {"clients", number(Sanitize::clients)}};
constexpr ChoiceName kFsync[] = {{"everysec", number(Fsync::everysec)},
                                 {"always", number(Fsync::always)},
                                 {"no", number(Fsync::no)}};

bool is_path(Bytes name) { return name.find_first_of("/\\") != Bytes::npos; }

Result<> check_dbfilename(Bytes name) {
  if (is_path(name)) return base::Error{"dbfilename can't be a path, just a filename"};
  return {};
}

Result<> check_appendfilename(Bytes name) {
  if (name.empty()) return base::Error{"appendfilename can't be empty"};
  if (is_path(name)) return base::Error{"appendfilename can't be a path, just a filename"};
  return {};
}

Result<> check_backup_dir(Bytes name) {
  if (name.empty()) return base::Error{"backup-dir can't be empty"};
  return {};
}

Result<> check_endpoint(Bytes url) {
  if (url.empty()) return {};
  for (Bytes scheme : {Bytes("http://"), Bytes("https://")})
    if (url.starts_with(scheme) && url.size() > scheme.size() && !url.ends_with('/')) return {};
  return base::Error{
      "backup-s3-endpoint must be http://HOST[:PORT] or https://HOST[:PORT], without a slash at "
      "its end"};
}

// These become parts of an URL and of what is signed.
template <char More, char AndMore>
bool is_plain(Bytes text) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == More || c == AndMore;
    if (!plain) return false;
  }
  return true;
}

Result<> check_bucket(Bytes name) {
  if (is_plain<'.', '_'>(name)) return {};
  return base::Error{"backup-s3-bucket has letters, digits, '.', '_' and '-' only"};
}

Result<> check_prefix(Bytes prefix) {
  for (const char c : prefix)
    if (c != '/' && !is_plain<'.', '_'>(Bytes(&c, 1)))
      return base::Error{"backup-s3-prefix has letters, digits, '.', '_', '-' and '/' only"};
  if (prefix.starts_with('/')) return base::Error{"backup-s3-prefix can't begin with a slash"};
  return {};
}

Result<> check_region(Bytes region) {
  if (!region.empty() && is_plain<'-', '-'>(region)) return {};
  return base::Error{"backup-s3-region has letters, digits and '-' only"};
}

Result<> check_appenddirname(Bytes name) {
  if (name.empty()) return base::Error{"appenddirname can't be empty"};
  if (is_path(name)) return base::Error{"appenddirname can't be a path, just a dirname"};
  return {};
}

constexpr Directive kPersistRows[] = {
    {.name = "save", .value = &special::kSave, .flags = kMultiArgument | kAlwaysWritten},
    {.name = "stop-writes-on-bgsave-error",
     .value = Switch{&Settings::stop_writes_on_bgsave_error}},
    {.name = "rdbcompression", .value = Switch{&Settings::rdbcompression}},
    {.name = "rdbchecksum", .value = Switch{&Settings::rdbchecksum}, .flags = kImmutable},
    {.name = "sanitize-dump-payload", .value = choice<&Settings::sanitize_dump_payload>(kSanitize)},
    {.name = "dbfilename",
     .value = Text{&Settings::dbfilename, false, check_dbfilename},
     .flags = kProtected},
    {.name = "rdb-del-sync-files", .value = Switch{&Settings::rdb_del_sync_files}},
    {.name = "rdb-save-incremental-fsync",
     .value = Switch{&Settings::rdb_save_incremental_fsync},
     .no_effect = kOwnSyncs},
    {.name = "rdb-version",
     .value = Integer{&Settings::rdb_version, kRdbVersionMin, kRdbVersionMax}},
    {.name = "rdb-key-save-delay",
     .value = Integer{&Settings::rdb_key_save_delay_us, kInt32Min, kInt32Max},
     .flags = kHidden},
    {.name = "key-load-delay",
     .value = Integer{&Settings::key_load_delay_us, kInt32Min, kInt32Max},
     .flags = kHidden},
    {.name = "loading-process-events-interval-bytes",
     .value =
         Integer{&Settings::loading_process_events_interval_bytes, kLoadingIntervalMin, kInt32Max},
     .flags = kHidden},
    {.name = "appendonly", .value = Switch{&Settings::appendonly}, .flags = kDenyLoading},
    {.name = "appendfilename",
     .value = Text{&Settings::appendfilename, false, check_appendfilename},
     .flags = kImmutable},
    {.name = "appenddirname",
     .value = Text{&Settings::appenddirname, false, check_appenddirname},
     .flags = kImmutable},
    {.name = "appendfsync", .value = choice<&Settings::appendfsync>(kFsync)},
    {.name = "no-appendfsync-on-rewrite", .value = Switch{&Settings::no_appendfsync_on_rewrite}},
    {.name = "auto-aof-rewrite-percentage",
     .value = Integer{&Settings::auto_aof_rewrite_percentage, 0, kInt32Max}},
    {.name = "auto-aof-rewrite-min-size",
     .value = Integer{&Settings::auto_aof_rewrite_min_size, 0, kInt64Max, Notation::memory}},
    {.name = "aof-load-truncated", .value = Switch{&Settings::aof_load_truncated}},
    {.name = "aof-load-corrupt-tail-max-size",
     .value = Integer{&Settings::aof_load_corrupt_tail_max_size, 0, kInt64Max, Notation::memory},
     .flags = kHidden,
     .no_effect = "damage is never cut off, only an unfinished command"},
    {.name = "aof-use-rdb-preamble", .value = Switch{&Settings::aof_use_rdb_preamble}},
    {.name = "aof-timestamp-enabled", .value = Switch{&Settings::aof_timestamp_enabled}},
    {.name = "aof-rewrite-incremental-fsync",
     .value = Switch{&Settings::aof_rewrite_incremental_fsync},
     .no_effect = kOwnSyncs},
    {.name = "aof-disable-auto-gc", .value = Switch{&Settings::aof_disable_auto_gc}},
    {.name = "changes-buffer-size", .value = Memory{&Settings::changes_buffer_size}},
    {.name = "data-encryption-key-file",
     .value = Text{&Settings::data_encryption_key_file},
     .flags = kProtected},
    {.name = "backup-dir",
     .value = Text{&Settings::backup_dir, false, check_backup_dir},
     .flags = kProtected},
    {.name = "backup-keep", .value = Integer{&Settings::backup_keep, 0, kInt32Max}},
    {.name = "backup-s3-endpoint",
     .value = Text{&Settings::backup_s3_endpoint, true, check_endpoint},
     .flags = kProtected},
    {.name = "backup-s3-bucket",
     .value = Text{&Settings::backup_s3_bucket, true, check_bucket},
     .flags = kProtected},
    {.name = "backup-s3-prefix",
     .value = Text{&Settings::backup_s3_prefix, true, check_prefix},
     .flags = kProtected},
    {.name = "backup-s3-region", .value = Text{&Settings::backup_s3_region, false, check_region}},
    {.name = "backup-s3-access-key",
     .value = Text{&Settings::backup_s3_access_key},
     .flags = kSensitive},
    {.name = "backup-s3-secret-key-file",
     .value = Text{&Settings::backup_s3_secret_key_file},
     .flags = kProtected},
    {.name = "backup-s3-part-size",
     .value = Integer{&Settings::backup_s3_part_size, kS3PartBytesMin, kS3PartBytesMax,
                      Notation::memory}},
};

}  // namespace

std::span<const Directive> persist_directives() { return kPersistRows; }

}  // namespace quoll::server
