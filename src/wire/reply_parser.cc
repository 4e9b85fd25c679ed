#include "wire/reply_parser.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/numbers.h"

namespace quoll::wire {
namespace {

constexpr size_t kElementsReserved = 64;

bool parse_real(base::Bytes text, double& value) {
  if (base::parse_double(text, value)) return true;
  if (text != "nan" && text != "-nan") return false;
  value = std::numeric_limits<double>::quiet_NaN();
  return true;
}

}  // namespace

void ReplyParser::feed(base::Bytes bytes) {
  if (pos_ > 0 && pos_ >= buffer_.size() / 2) {
    buffer_.erase(0, pos_);
    pos_ = 0;
  }
  buffer_.append(bytes);
}

std::string ReplyParser::take_rest() {
  QUOLL_CHECK(open_.empty() && attributes_.empty() && bulk_size_ < 0);
  std::string rest = buffer_.substr(pos_);
  buffer_.clear();
  pos_ = scanned_ = 0;
  return rest;
}

ReplyParser::Status ReplyParser::next(Reply& reply) {
  if (!error_.empty()) return Status::error;
  for (;;) {
    Reply value;
    bool opened = false;
    Status status = take_value(value, opened);
    if (status != Status::ok) return status;
    if (opened) continue;
    // A complete value closes every collection that it is the last element of.
    for (;;) {
      if (open_.empty()) {
        reply = std::move(value);
        if (buffer_.size() == pos_) {
          buffer_.clear();
          pos_ = 0;
        }
        return Status::ok;
      }
      Open& outer = open_.back();
      outer.reply.elements.push_back(std::move(value));
      if (--outer.left > 0) break;
      value = std::move(outer.reply);
      bool attribute = outer.attribute;
      open_.pop_back();
      if (attribute) {
        attributes_ = std::move(value.elements);
        break;
      }
    }
  }
}

// One scalar, or the header of a collection (`opened`).
ReplyParser::Status ReplyParser::take_value(Reply& value, bool& opened) {
  if (bulk_size_ < 0) {
    base::Bytes line;
    do {
      Status status = take_line(line);
      if (status != Status::ok) return status;
    } while (line.empty() && open_.empty());
    if (line.empty()) return fail("empty line inside a reply");
    char type = line[0];
    line.remove_prefix(1);
    switch (type) {
      case '*':
      case '%':
      case '~':
      case '>':
      case '|':
        return open_collection(type, line, value, opened);
      case '$':
      case '=':
      case '!': {
        bool null = type == '$' && line == "-1";
        if (!null && (!base::parse_int(line, bulk_size_) || bulk_size_ < 0 ||
                      bulk_size_ > kReplyBulkMax || (type == '=' && bulk_size_ < 4))) {
          return fail("invalid bulk length");
        }
        if (null) return take_scalar('_', {}, value);
        bulk_type_ = type == '$'   ? Reply::Type::bulk
                     : type == '=' ? Reply::Type::verbatim
                                   : Reply::Type::blob_error;
        break;
      }
      default:
        return take_scalar(type, line, value);
    }
  }
  return take_bulk(value);
}

ReplyParser::Status ReplyParser::take_line(base::Bytes& line) {
  size_t at = buffer_.find('\n', pos_ + scanned_);
  if (at == std::string::npos) {
    scanned_ = buffer_.size() - pos_;
    return scanned_ > kReplyLineMax ? fail("too long line") : Status::incomplete;
  }
  line = base::Bytes(buffer_).substr(pos_, at - pos_);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  pos_ = at + 1;
  scanned_ = 0;
  return Status::ok;
}

ReplyParser::Status ReplyParser::take_bulk(Reply& value) {
  size_t size = static_cast<size_t>(bulk_size_);
  if (buffer_.size() - pos_ < size + 2) return Status::incomplete;
  base::Bytes body = base::Bytes(buffer_).substr(pos_, size);
  if (base::Bytes(buffer_).substr(pos_ + size, 2) != "\r\n") return fail("bulk without CR LF");
  value.type = bulk_type_;
  if (bulk_type_ == Reply::Type::verbatim) {
    value.format = body.substr(0, 3);
    body.remove_prefix(4);
  }
  value.text = body;
  value.attributes = std::exchange(attributes_, {});
  pos_ += size + 2;
  bulk_size_ = -1;
  return Status::ok;
}

ReplyParser::Status ReplyParser::take_scalar(char type, base::Bytes line, Reply& value) {
  value.attributes = std::exchange(attributes_, {});
  value.text = line;
  switch (type) {
    case '+':
      value.type = Reply::Type::simple;
      return Status::ok;
    case '-':
      value.type = Reply::Type::error;
      return Status::ok;
    case '(':
      value.type = Reply::Type::big_number;
      return Status::ok;
    case '_':
      value.type = Reply::Type::null;
      return line.empty() ? Status::ok : fail("invalid null");
    case ':':
      value.type = Reply::Type::integer;
      value.text.clear();
      if (!line.empty() && line[0] == '+') line.remove_prefix(1);
      return base::parse_int(line, value.integer) ? Status::ok : fail("invalid integer");
    case '#':
      value.type = Reply::Type::boolean;
      value.text.clear();
      value.integer = line == "t";
      return line == "t" || line == "f" ? Status::ok : fail("invalid boolean");
    case ',':
      value.type = Reply::Type::real;
      return parse_real(line, value.real) ? Status::ok : fail("invalid double");
    default:
      return fail(std::string("unknown reply type '") + type + "'");
  }
}

ReplyParser::Status ReplyParser::open_collection(char type, base::Bytes line, Reply& value,
                                                 bool& opened) {
  if (type == '*' && line == "-1") return take_scalar('_', {}, value);
  int64_t count;
  if (!base::parse_int(line, count) || count < 0 || count > kReplyElementsMax) {
    return fail("invalid collection length");
  }
  bool attribute = type == '|';
  bool pairs = type == '%' || attribute;
  switch (type) {
    case '*':
      value.type = Reply::Type::array;
      break;
    case '~':
      value.type = Reply::Type::set;
      break;
    case '>':
      value.type = Reply::Type::push;
      break;
    default:
      value.type = Reply::Type::map;
  }
  value.attributes = std::exchange(attributes_, {});
  if (count == 0 && !attribute) return Status::ok;
  opened = true;
  if (count == 0) return Status::ok;
  if (open_.size() >= kReplyDepthMax) return fail("reply nested too deeply");
  size_t left = static_cast<size_t>(count) * (pairs ? 2 : 1);
  value.elements.reserve(std::min(left, kElementsReserved));
  open_.push_back({std::move(value), left, attribute});
  return Status::ok;
}

ReplyParser::Status ReplyParser::fail(const std::string& text) {
  error_ = text;
  return Status::error;
}

}  // namespace quoll::wire
