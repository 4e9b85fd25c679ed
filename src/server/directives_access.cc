// Passwords, ACL and what the network may ask for. `user` and `rename-command` are lines of the
// file only and are read in config_reader.cc.
#include "server/directive.h"

namespace quoll::server {

namespace {

constexpr ChoiceName kPermissions[] = {{"no", number(Permission::no)},
                                       {"yes", number(Permission::yes)},
                                       {"local", number(Permission::local)}};
constexpr ChoiceName kChannelDefaults[] = {
    {"allchannels", number(ChannelDefault::all_channels)},
    {"resetchannels", number(ChannelDefault::reset_channels)}};

constexpr Directive kAccessRows[] = {
    {.name = "requirepass", .value = Text{&Settings::requirepass}, .flags = kSensitive},
    {.name = "aclfile", .value = Text{&Settings::aclfile, false}, .flags = kImmutable},
    {.name = "acl-pubsub-default",
     .value = choice<&Settings::acl_pubsub_default>(kChannelDefaults)},
    {.name = "acllog-max-len", .value = Integer{&Settings::acllog_max_len, 0, kInt64Max}},
    {.name = "enable-protected-configs",
     .value = choice<&Settings::enable_protected_configs>(kPermissions),
     .flags = kImmutable},
    {.name = "enable-debug-command",
     .value = choice<&Settings::enable_debug_command>(kPermissions),
     .flags = kImmutable},
    {.name = "enable-module-command",
     .value = choice<&Settings::enable_module_command>(kPermissions),
     .flags = kImmutable},
};

}  // namespace

std::span<const Directive> access_directives() { return kAccessRows; }

}  // namespace quoll::server
