// Acl: the users, and what follows for sessions when they change.
//
//   requirepass -> `user` lines of the configuration -> aclfile      each overrules the one before
//
// On a node of a cluster these are the node's own; all others are the cluster's, the same on every
// node (cluster_documents.h). Of a name that the configuration has, the node's own user is in
// force.
//
// Users are changed in place, so that sessions may point to theirs; when one is removed, or may no
// longer listen where a session of his listens, those sessions end. A change is whole or does not
// happen: rules are tried on a copy first.
// The dispatcher asks admit() for every command of a user who is not unrestricted; scripts ask it
// for the commands they call.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/acl_log.h"
#include "server/acl_user.h"
#include "server/settings.h"

namespace quoll::server {

class Server;
class Session;

// What was refused since the start or CONFIG RESETSTAT.
struct AclRefusals {
  uint64_t logins = 0;
  uint64_t commands = 0;
  uint64_t keys = 0;
  uint64_t channels = 0;
};

// The error that redis.call() gives a script whose caller was refused.
Bytes refusal_in_script(Denied denied);

class Acl {
 public:
  using Users = std::map<std::string, std::unique_ptr<AclUser>, std::less<>>;

  explicit Acl(Server& server);

  // Users of the configuration; the error is for the log, and the server cannot start.
  base::Result<> start();

  AclUser& default_user() { return *default_; }
  const AclUser& default_user() const { return *default_; }
  AclUser* find(Bytes name) const;
  const Users& users() const { return users_; }
  // Whoever connects is `default` without logging in.
  bool open() const { return default_->is(AclUser::kNoPass) && !default_->is(AclUser::kOff); }

  // May the session's user run the command?
  AclVerdict check(const Session& session, const Command& command, Args args);
  // The same question asked in earnest: a refusal is counted and goes to the log.
  AclVerdict admit(Session& session, Command& command, Args args, AclContext context);
  // Makes the session the user's, or notes the failed attempt.
  bool log_in(Session& session, Command& command, Args args, Bytes name, Bytes password);

  // The user whom the client's certificate names, if there is one who may log in.
  void log_in_by_certificate(Session& session, Bytes name);

  // Applies the rules to the user, who is made if there is none. The error is Redis's text.
  base::Result<> set_user(Bytes name, std::span<const Bytes> rules);
  bool remove(Bytes name);
  // The configuration has him, or the cluster has no secret: on a node of a cluster he is the
  // node's own.
  bool is_own(Bytes name) const;
  // The user's rules as text once the rules are applied to him as `before` describes him; nullptr:
  // as he is without any. The error is Redis's text.
  base::Result<std::string> rewritten(Bytes name, const std::string* before,
                                      std::span<const Bytes> rules) const;
  // The user has these rules and no others.
  base::Result<> put(Bytes name, Bytes rules);
  void set_default_password(Bytes password);  // empty: none is needed

  // Takes over the users of an ACL file, all or none. The error lists what is wrong where.
  base::Result<> load(Bytes text, const std::string& path);
  // "user NAME RULES" per user, as in files.
  std::vector<std::string> lines() const;
  // Those that belong in this server's files: on a node of a cluster its own.
  std::vector<std::string> own_lines() const;

  AclLog& log() { return log_; }
  AclRefusals& refusals() { return refusals_; }

 private:
  AclRules rules() const;
  AclUser& add(const std::string& name);
  base::Result<> apply_all(AclUser& user, std::span<const Bytes> rules) const;
  void become(AclUser* user, const AclUser& next);
  base::Result<> start_user(const UserLine& line);
  void load_line(Bytes line, const std::string& place, size_t number, Users& users,
                 std::string& errors) const;
  void take_over(Users& loaded);
  void note(Session& session, Command& command, Args args, AclLogEntry entry);
  void end_sessions_of(const AclUser& user);
  void end_listeners(const AclUser& user, const AclUser& next);
  // Around a change of `default`: whoever connected meanwhile may have to log in, or need not.
  void default_changed();

  Server& server_;
  Users users_;
  AclUser* default_;
  std::set<std::string, std::less<>> own_;  // whom the configuration names
  AclLog log_;
  AclRefusals refusals_;
  std::vector<KeyArg> keys_;  // of the command being looked at
};

}  // namespace quoll::server
