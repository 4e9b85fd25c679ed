#include "server/acl.h"

#include <fmt/format.h>

#include "base/text.h"
#include "server/call.h"
#include "server/client_attributes.h"
#include "server/cluster_documents.h"
#include "server/cluster_node.h"
#include "server/log.h"
#include "server/server.h"

namespace quoll::server {
namespace {

constexpr size_t kLoggedObjectBytesMax = 1024;  // of a key or channel, in ACL LOG
constexpr Bytes kTwoSources =
    "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path "
    "is invalid. This setup is very likely to lead to configuration errors and security holes, "
    "please define either an ACL file or declare users directly in your redis.conf, but not both.";
constexpr Bytes kNothingChanged =
    "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";

std::vector<Bytes> words_of(Bytes line) {
  std::vector<Bytes> words;
  for (;;) {
    const size_t blank = line.find(' ');
    words.push_back(line.substr(0, blank));
    if (blank == Bytes::npos) return words;
    line.remove_prefix(blank + 1);
  }
}

std::string rule_error(RuleError error) { return std::string(rule_error_text(error)); }

}  // namespace

Bytes refusal_in_script(Denied denied) {
  switch (denied) {
    case Denied::command:
      return "ERR The user executing the script can't run this command or subcommand";
    case Denied::key:
      return "ERR The user executing the script can't access at least one of the keys mentioned in "
             "the command arguments";
    case Denied::channel:
      return "ERR The user executing the script can't publish to the channel mentioned in the "
             "command";
    default:
      return {};
  }
}

Acl::Acl(Server& server) : server_(server), default_(nullptr) {
  default_ = &add("default");
  default_->copy_rules(AclUser::unrestricted_default(rules()));
}

AclRules Acl::rules() const {
  return {server_.commands(),
          server_.settings().acl_pubsub_default == ChannelDefault::all_channels};
}

AclUser& Acl::add(const std::string& name) {
  return *users_.emplace(name, std::make_unique<AclUser>(name, rules())).first->second;
}

AclUser* Acl::find(Bytes name) const {
  auto at = users_.find(name);
  return at == users_.end() ? nullptr : at->second.get();
}

// --- start -------------------------------------------------------------------------------------

base::Result<> Acl::start() {
  const Settings& settings = server_.settings();
  set_default_password(settings.requirepass);
  if (!settings.aclfile.empty() && !settings.users.empty())
    return base::Error{std::string(kTwoSources)};
  for (const UserLine& line : settings.users)
    if (auto done = start_user(line); !done) return done;
  if (settings.aclfile.empty()) return {};
  auto text = server_.config().files().read(settings.aclfile);
  base::Result<> loaded;
  if (text) {
    loaded = load(text.value(), settings.aclfile);
  } else {
    loaded = base::Error{
        fmt::format("Error loading ACLs, opening file '{}': {}", settings.aclfile, text.error())};
  }
  if (!loaded)
    return base::Error{"Aborting Redis startup because of ACL errors: " + loaded.error()};
  return {};
}

base::Result<> Acl::start_user(const UserLine& line) {
  constexpr Bytes kFatal = "Critical error while loading ACLs. Exiting.";
  if (!is_user_name(line.name)) {
    log::warning("Spaces not allowed in ACL usernames");
    return base::Error{std::string(kFatal)};
  }
  AclUser* user = find(line.name);
  own_.insert(line.name);
  if (user) {
    user->apply("reset", rules());  // only `default` exists already
  } else {
    user = &add(line.name);
  }
  std::vector<Bytes> words(line.rules.begin(), line.rules.end());
  std::vector<std::string> merged;
  size_t open_at = 0;
  merge_selectors(words, merged, open_at);  // checked when the file was read
  for (const std::string& rule : merged) {
    RuleError error = user->apply(rule, rules());
    if (error == RuleError::none) continue;
    log::warning("Error loading ACL rule '{}' for the user named '{}': {}", rule, line.name,
                 rule_error_text(error));
    return base::Error{std::string(kFatal)};
  }
  if (user->is(AclUser::kOff))
    log::notice(
        "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure "
        "this is not a configuration error.",
        line.name);
  return {};
}

// --- asking ------------------------------------------------------------------------------------

AclVerdict Acl::check(const Session& session, const Command& command, Args args) {
  return session.user->check(command, args, keys_);
}

AclVerdict Acl::admit(Session& session, Command& command, Args args, AclContext context) {
  const AclVerdict verdict = check(session, command, args);
  if (verdict) return verdict;
  Bytes object = verdict.denied == Denied::command ? command.spec->name : args[verdict.argument];
  note(session, command, args,
       {.reason = verdict.denied,
        .context = context,
        .object = std::string(object.substr(0, kLoggedObjectBytesMax)),
        .user = session.user->name(),
        .client = {}});
  return verdict;
}

bool Acl::log_in(Session& session, Command& command, Args args, Bytes name, Bytes password) {
  AclUser* user = find(name);
  if (user && user->accepts(password)) {
    session.user = user;
    session.set_authenticated(true);
    return true;
  }
  note(session, command, args,
       {.reason = Denied::auth,
        .context = session.transaction.open ? AclContext::multi : AclContext::toplevel,
        .object = std::string(args[0]),
        .user = std::string(name),
        .client = {}});
  return false;
}

void Acl::log_in_by_certificate(Session& session, Bytes name) {
  if (server_.settings().tls_auth_clients_user == TlsClientUser::off) return;
  AclUser* user = find(name);
  if (!user || user->is(AclUser::kOff))
    return log::verbose("TLS: no user '{}' who may log in, as the client's certificate says", name);
  session.user = user;
  session.set_authenticated(true);
}

void Acl::note(Session& session, Command& command, Args args, AclLogEntry entry) {
  switch (entry.reason) {
    case Denied::command:
      ++refusals_.commands;
      break;
    case Denied::key:
      ++refusals_.keys;
      break;
    case Denied::channel:
      ++refusals_.channels;
      break;
    default:
      ++refusals_.logins;
  }
  Call call{args,          server_,   session, command, session.reply(), server_.store(),
            server_.now(), session.db};
  append_client_line(entry.client, call, session);
  log_.add(std::move(entry), server_.now(), static_cast<size_t>(server_.settings().acllog_max_len));
}

// --- changing ----------------------------------------------------------------------------------

base::Result<> Acl::apply_all(AclUser& user, std::span<const Bytes> words) const {
  std::vector<std::string> merged;
  size_t open_at = 0;
  if (!merge_selectors(words, merged, open_at))
    return base::Error{fmt::format("Unmatched parenthesis in acl selector starting at '{}'.",
                                   errors::shown(words[open_at]))};
  for (const std::string& rule : merged)
    if (RuleError error = user.apply(rule, rules()); error != RuleError::none)
      return base::Error{fmt::format("Error in ACL SETUSER modifier '{}': {}", errors::shown(rule),
                                     rule_error_text(error))};
  return {};
}

// Sessions point to users, so these keep their objects.
void Acl::become(AclUser* user, const AclUser& next) {
  if (user) {
    end_listeners(*user, next);
  } else {
    user = &add(next.name());
  }
  user->copy_rules(next);
  if (user == default_) default_changed();
}

base::Result<> Acl::set_user(Bytes name, std::span<const Bytes> words) {
  AclUser* user = find(name);
  AclUser next(std::string(name), rules());
  if (user) next.copy_rules(*user);
  if (auto done = apply_all(next, words); !done) return done;
  become(user, next);
  return {};
}

bool Acl::is_own(Bytes name) const {
  // Without a secret whoever reaches the bus may say what the cluster agrees on.
  if (server_.node() && !server_.cluster_secrets().given()) return true;
  return own_.contains(name) || (name == "default" && !server_.settings().requirepass.empty());
}

base::Result<std::string> Acl::rewritten(Bytes name, const std::string* before,
                                         std::span<const Bytes> words) const {
  AclUser next(std::string(name), rules());
  if (before) {
    if (auto known = apply_all(next, words_of(*before)); !known) return base::Error{known.error()};
  } else if (name == "default") {
    next.copy_rules(*default_);
  }
  if (auto done = apply_all(next, words); !done) return base::Error{done.error()};
  return next.describe();
}

base::Result<> Acl::put(Bytes name, Bytes text) {
  if (!is_user_name(name)) return base::Error{"a user cannot be named so"};
  AclUser next(std::string(name), rules());
  if (auto done = apply_all(next, words_of(text)); !done) return done;
  AclUser* user = find(name);
  if (!user || user->describe() != next.describe()) become(user, next);
  return {};
}

bool Acl::remove(Bytes name) {
  auto at = users_.find(name);
  if (at == users_.end()) return false;
  end_sessions_of(*at->second);
  users_.erase(at);
  return true;
}

void Acl::set_default_password(Bytes password) {
  default_->apply("resetpass", rules());
  default_->apply(password.empty() ? "nopass" : '>' + std::string(password), rules());
  default_changed();
}

void Acl::default_changed() {
  for (const auto& [id, session] : server_.sessions()) session->update_login();
}

void Acl::end_sessions_of(const AclUser& user) {
  std::vector<Session*> meant;
  for (const auto& [id, session] : server_.sessions())
    if (session->user == &user) meant.push_back(session.get());
  for (Session* session : meant) {
    session->user = default_;
    session->set_authenticated(false);
    session->end();
  }
}

void Acl::end_listeners(const AclUser& user, const AclUser& next) {
  if (!next.lost_channels(user)) return;
  const PubSub& pubsub = server_.pubsub();
  auto lost = [&](const Session& session, PubSub::Kind kind) {
    for (const std::string& channel : pubsub.names(session, kind))
      if (!next.allows_channel(channel, kind == PubSub::Kind::pattern)) return true;
    return false;
  };
  std::vector<Session*> meant;
  for (const auto& [id, session] : server_.sessions())
    if (session->user == &user && session->subscribed() &&
        (lost(*session, PubSub::Kind::channel) || lost(*session, PubSub::Kind::pattern) ||
         lost(*session, PubSub::Kind::shard)))
      meant.push_back(session.get());
  for (Session* session : meant) session->end();
}

// --- files -------------------------------------------------------------------------------------

std::vector<std::string> Acl::lines() const {
  std::vector<std::string> lines;
  for (const auto& [name, user] : users_) lines.push_back("user " + name + ' ' + user->describe());
  return lines;
}

std::vector<std::string> Acl::own_lines() const {
  if (!server_.node()) return lines();
  std::vector<std::string> lines;
  for (const auto& [name, user] : users_)
    if (is_own(name)) lines.push_back("user " + name + ' ' + user->describe());
  return lines;
}

base::Result<> Acl::load(Bytes text, const std::string& path) {
  Users loaded;
  std::string errors;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const Bytes line = base::trimmed(text.substr(0, end));
    text.remove_prefix(end == Bytes::npos ? text.size() : end + 1);
    if (!line.empty()) load_line(line, fmt::format("{}:{}", path, number), number, loaded, errors);
  }
  if (!errors.empty()) return base::Error{errors + std::string(kNothingChanged)};
  take_over(loaded);
  return {};
}

void Acl::load_line(Bytes line, const std::string& place, size_t number, Users& users,
                    std::string& errors) const {
  const std::vector<Bytes> words = words_of(line);
  if (words.size() < 2 || words[0] != "user") {
    errors += place + " should start with user keyword followed by the username. ";
    return;
  }
  const std::string name(words[1]);
  if (!is_user_name(name)) {
    errors += fmt::format("'{}: username '{}' contains invalid characters. ", place, name);
    return;
  }
  auto [at, fresh] = users.emplace(name, std::make_unique<AclUser>(name, rules()));
  if (!fresh) {
    errors += fmt::format("WARNING: Duplicate user '{}' found on line {}. ", name, number);
    return;
  }
  std::vector<std::string> merged;
  size_t open_at = 0;
  if (!merge_selectors(std::span(words).subspan(2), merged, open_at)) {
    errors += place + ": Unmatched parenthesis in selector definition.";
    return;
  }
  for (const std::string& rule : merged) {
    const Bytes shown = base::trimmed(rule);
    const RuleError error = at->second->apply(shown, rules());
    if (error == RuleError::unknown_command) {
      errors += fmt::format("{}: Error in applying operation '{}': {}. ", place, shown,
                            rule_error(error));
    } else if (error != RuleError::none) {
      errors += place + ": " + rule_error(error) + ". ";
    }
  }
}

// The cluster's users are not the file's, and stay.
void Acl::take_over(Users& loaded) {
  const auto before = std::exchange(own_, {});
  for (const auto& [name, user] : loaded) own_.insert(name);
  const bool of_cluster = server_.node() && !is_own("default") && !before.contains("default");
  if (!loaded.contains("default") && !of_cluster)
    loaded.emplace("default", std::make_unique<AclUser>(AclUser::unrestricted_default(rules())));
  std::vector<std::string> gone;
  for (const auto& [name, user] : users_)
    if (!loaded.contains(name) && name != "default" && (!server_.node() || before.contains(name)))
      gone.push_back(name);
  for (const std::string& name : gone) remove(name);
  for (const auto& [name, next] : loaded) become(find(name), *next);
  default_changed();
  if (server_.node()) server_.node()->documents().own_users_changed();
}

}  // namespace quoll::server
