#include "base/text.h"

#include <utility>

namespace quoll::base {

namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = to_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char unescaped(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Reads one word of a line. Past the end every byte reads as NUL, as in a C string.
class WordReader {
 public:
  explicit WordReader(Bytes line) : line_(line) {}

  bool skip_blanks() {
    while (at_ < line_.size() && is_blank(line_[at_])) ++at_;
    return at_ < line_.size();
  }

  // False: a quote is not closed, or text follows its end at once.
  bool read(std::string& word) {
    for (;; ++at_) {
      switch (char c = peek(0)) {
        case ' ':
        case '\n':
        case '\r':
        case '\t':
        case '\0':
          return true;
        case '"':
          return read_double_quoted(word);
        case '\'':
          return read_single_quoted(word);
        default:
          word += c;
      }
    }
  }

 private:
  char peek(size_t ahead) const { return at_ + ahead < line_.size() ? line_[at_ + ahead] : '\0'; }

  bool close_quote() {
    ++at_;
    return peek(0) == '\0' || is_blank(peek(0));
  }

  bool read_double_quoted(std::string& word) {
    for (++at_;; ++at_) {
      char c = peek(0);
      if (c == '"') return close_quote();
      if (c == '\0') return false;
      if (c == '\\' && peek(1) == 'x' && hex_value(peek(2)) >= 0 && hex_value(peek(3)) >= 0) {
        word += static_cast<char>(hex_value(peek(2)) << 4 | hex_value(peek(3)));
        at_ += 3;
      } else if (c == '\\' && peek(1) != '\0') {
        word += unescaped(peek(1));
        ++at_;
      } else {
        word += c;
      }
    }
  }

  bool read_single_quoted(std::string& word) {
    for (++at_;; ++at_) {
      char c = peek(0);
      if (c == '\'') return close_quote();
      if (c == '\0') return false;
      if (c == '\\' && peek(1) == '\'') {
        word += '\'';
        ++at_;
      } else {
        word += c;
      }
    }
  }

  Bytes line_;
  size_t at_ = 0;
};

}  // namespace

void lower_in_place(char* text, size_t size) {
  for (size_t i = 0; i < size; ++i) text[i] = to_lower(text[i]);
}

std::string to_lower(Bytes text) {
  std::string lower(text);
  lower_in_place(lower.data(), lower.size());
  return lower;
}

std::string to_upper(Bytes text) {
  std::string upper(text);
  for (char& c : upper) c = to_upper(c);
  return upper;
}

Bytes trimmed(Bytes text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool split_args(Bytes line, std::vector<std::string>& words) {
  words.clear();
  WordReader reader(line.substr(0, line.find('\0')));
  while (reader.skip_blanks()) {
    if (!reader.read(words.emplace_back())) {
      words.clear();
      return false;
    }
  }
  return true;
}

std::string quoted(Bytes bytes) {
  std::string out;
  out.reserve(bytes.size() + 2);
  out += '"';
  for (char c : bytes) {
    switch (c) {
      case '\\':
      case '"':
        out += '\\';
        out += c;
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\a':
        out += "\\a";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (c >= ' ' && c <= '~') {
          out += c;
        } else {
          out += "\\x";
          out += kHexDigits[static_cast<unsigned char>(c) >> 4];
          out += kHexDigits[static_cast<unsigned char>(c) & 15];
        }
    }
  }
  out += '"';
  return out;
}

std::string to_hex(Bytes bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (char c : bytes) {
    out += kHexDigits[static_cast<unsigned char>(c) >> 4];
    out += kHexDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::string to_hex(uint64_t value) {
  std::string out(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) out[i] = kHexDigits[value & 15];
  return out;
}

bool from_hex(Bytes text, std::string& bytes) {
  if (text.size() % 2 != 0) return false;
  std::string out;
  out.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    int high = hex_value(text[i]);
    int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return false;
    out += static_cast<char>(high << 4 | low);
  }
  bytes = std::move(out);
  return true;
}

}  // namespace quoll::base
