#include "commands/client_tracking.h"

#include "base/text.h"
#include "server/server.h"

namespace quoll::commands {

using namespace server;

namespace {

// The options behind ON or OFF; replies the error and returns false when they are none.
bool parse_mode(Call& call, Tracking::Mode& mode) {
  constexpr struct {
    Bytes name;
    uint8_t flag;
  } kOptions[] = {{"bcast", kTrackingBroadcast},
                  {"optin", kTrackingOptIn},
                  {"optout", kTrackingOptOut},
                  {"noloop", kTrackingNoLoop}};
  for (size_t i = 3; i < call.argc(); ++i) {
    Bytes option = call.arg(i);
    const bool valued = i + 1 < call.argc();
    if (valued && base::equals_ignoring_case(option, "redirect")) {
      if (mode.redirect != 0) {
        call.reply.error("ERR A client can only redirect to a single other client");
        return false;
      }
      int64_t id;
      if (!call.integer(++i, id)) return false;
      mode.redirect = static_cast<SessionId>(id);
      if (call.server.find_session(mode.redirect)) continue;
      call.reply.error("ERR The client ID you want redirect to does not exist");
      return false;
    }
    if (valued && base::equals_ignoring_case(option, "prefix")) {
      mode.prefixes.push_back(call.arg(++i));
      continue;
    }
    uint8_t flag = 0;
    for (const auto& known : kOptions)
      if (base::equals_ignoring_case(option, known.name)) flag = known.flag;
    if (flag == 0) {
      call.syntax_error();
      return false;
    }
    mode.flags |= flag;
  }
  return true;
}

// Why the mode cannot be had, by itself or by a session that is in another; empty: it can.
Bytes refusal_of(const Session& session, const Tracking::Mode& mode) {
  const bool broadcast = mode.flags & kTrackingBroadcast;
  if (!broadcast && !mode.prefixes.empty())
    return "ERR PREFIX option requires BCAST mode to be enabled";
  if (session.tracking && broadcast != ((session.tracking & kTrackingBroadcast) != 0))
    return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and "
           "then re-enabling it with a different mode.";
  const uint8_t opt = mode.flags & (kTrackingOptIn | kTrackingOptOut);
  if (broadcast && opt) return "ERR OPTIN and OPTOUT are not compatible with BCAST";
  if (opt == (kTrackingOptIn | kTrackingOptOut))
    return "ERR You can't specify both OPTIN mode and OPTOUT mode";
  const uint8_t old = session.tracking & (kTrackingOptIn | kTrackingOptOut);
  if (opt && old && opt != old)
    return "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and "
           "then re-enabling it with a different mode.";
  return {};
}

}  // namespace

void client_tracking(Call& call) {
  Tracking::Mode mode;
  if (!parse_mode(call, mode)) return;
  if (base::equals_ignoring_case(call.arg(2), "off")) {
    call.server.tracking().disable(call.session);
    return call.reply.ok();
  }
  if (!base::equals_ignoring_case(call.arg(2), "on")) return call.syntax_error();
  if (Bytes refusal = refusal_of(call.session, mode); !refusal.empty())
    return call.reply.error(refusal);
  std::string error;
  if (!call.server.tracking().enable(call.session, mode, error)) return call.reply.error(error);
  call.reply.ok();
}

void client_caching(Call& call) {
  Session& session = call.session;
  if (!session.tracking)
    return call.reply.error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
        "OPTOUT mode enabled");
  const bool yes = base::equals_ignoring_case(call.arg(2), "yes");
  if (!yes && !base::equals_ignoring_case(call.arg(2), "no")) return call.syntax_error();
  if (!(session.tracking & (yes ? kTrackingOptIn : kTrackingOptOut)))
    return call.reply.error(
        yes ? "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
            : "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
  session.tracking |= kTrackingCaching;
  call.reply.ok();
}

void client_getredir(Call& call) {
  const Session& session = call.session;
  call.reply.integer(
      session.tracking ? static_cast<int64_t>(call.server.tracking().redirect(session)) : -1);
}

void client_trackinginfo(Call& call) {
  const Session& session = call.session;
  const uint8_t mode = session.tracking;
  std::vector<Bytes> flags{mode ? "on" : "off"};
  auto add = [&](bool set, Bytes name) {
    if (set) flags.push_back(name);
  };
  add(mode & kTrackingBroadcast, "bcast");
  add(mode & kTrackingOptIn, "optin");
  add((mode & kTrackingOptIn) && (mode & kTrackingCaching), "caching-yes");
  add(mode & kTrackingOptOut, "optout");
  add((mode & kTrackingOptOut) && (mode & kTrackingCaching), "caching-no");
  add(mode & kTrackingNoLoop, "noloop");
  add(mode & kTrackingRedirectBroken, "broken_redirect");
  call.reply.map(3);
  call.reply.bulk("flags");
  call.reply.set(flags.size());
  for (Bytes flag : flags) call.reply.bulk(flag);
  call.reply.bulk("redirect");
  client_getredir(call);
  call.reply.bulk("prefixes");
  const std::vector<Bytes> prefixes = call.server.tracking().prefixes(session);
  call.reply.array(prefixes.size());
  for (Bytes prefix : prefixes) call.reply.bulk(prefix);
}

}  // namespace quoll::commands
