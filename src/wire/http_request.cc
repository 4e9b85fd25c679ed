#include "wire/http_request.h"

#include <algorithm>
#include <climits>

namespace quoll::wire {
namespace {

constexpr int kBadRequest = 400;
constexpr int kTooLarge = 413;
constexpr int kTargetTooLong = 414;
constexpr int kHeadersTooLarge = 431;

HttpRequestParser& owner(http_parser* parser) {
  return *static_cast<HttpRequestParser*>(parser->data);
}

}  // namespace

void HttpRequestParser::reset() {
  http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
  target_.clear();
  taken_ = 0;
  state_ = State::more;
  status_ = 0;
  keep_alive_ = false;
}

void HttpRequestParser::fail(int status) {
  state_ = State::broken;
  status_ = status;
}

int HttpRequestParser::on_target(http_parser* parser, const char* bytes, size_t size) {
  HttpRequestParser& self = owner(parser);
  if (self.target_.size() + size > kTargetMax) {
    self.fail(kTargetTooLong);
    return 1;
  }
  self.target_.append(bytes, size);
  return 0;
}

int HttpRequestParser::on_headers_complete(http_parser* parser) {
  HttpRequestParser& self = owner(parser);
  if (parser->http_major != 1) {
    self.fail(kBadRequest);
    return -1;
  }
  const bool sized = parser->content_length != 0 && parser->content_length != ULLONG_MAX;
  if (sized || (parser->flags & F_CHUNKED)) {
    self.fail(kTooLarge);
    return -1;
  }
  return 0;
}

int HttpRequestParser::on_message_complete(http_parser* parser) {
  HttpRequestParser& self = owner(parser);
  self.state_ = State::complete;
  self.keep_alive_ = http_should_keep_alive(parser) != 0 && !parser->upgrade;
  http_parser_pause(parser, 1);  // what follows is the next request
  return 0;
}

size_t HttpRequestParser::feed(base::Bytes bytes) {
  if (state_ != State::more || bytes.empty()) return 0;
  http_parser_settings settings;
  http_parser_settings_init(&settings);
  settings.on_url = on_target;
  settings.on_headers_complete = on_headers_complete;
  settings.on_message_complete = on_message_complete;
  const size_t offered = std::min(bytes.size(), kRequestMax - taken_);
  const size_t took = http_parser_execute(&parser_, &settings, bytes.data(), offered);
  const http_errno error = HTTP_PARSER_ERRNO(&parser_);
  taken_ += took;
  if (state_ != State::more) return took;
  if (error != HPE_OK) {
    fail(error == HPE_HEADER_OVERFLOW ? kHeadersTooLarge : kBadRequest);
  } else if (taken_ >= kRequestMax) {
    fail(kHeadersTooLarge);
  }
  return took;
}

base::Bytes HttpRequestParser::method() const {
  return http_method_str(static_cast<http_method>(parser_.method));
}

base::Bytes HttpRequestParser::path() const {
  const base::Bytes target = target_;
  return target.substr(0, target.find_first_of("?#"));
}

}  // namespace quoll::wire
