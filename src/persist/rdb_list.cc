// Lists in RDB form:
//
//   list              count, element...                       read only
//   list_ziplist      a ziplist as a string                   read only
//   list_quicklist    count, ziplist as a string...           read only
//   list_quicklist_2  count, (container, string)...           container 1: one element as it is,
//                                                             2: a listpack
#include "data/ziplist_reader.h"
#include "persist/value_codec.h"

namespace quoll::persist {
namespace {

using data::List;
using data::ListEnd;
using data::ListNode;
using data::Listpack;
using data::ListpackView;
using wire::RdbNode;
using wire::RdbType;

// Longer elements are stored plainly and in pieces: compressing them would hold the loop.
constexpr size_t kNodeCompressBytesMax = 256 * 1024;
// Larger listpacks than any node limit allows are dealt out to nodes anew: changes would be slow.
constexpr size_t kPackBytesMax = 64 * 1024;

void append_pack(wire::RdbWriter& out, ListpackView pack) {
  out.length(static_cast<uint64_t>(RdbNode::packed));
  out.string(pack.bytes());
}

// words[1]: bytes of the element that are written. False when there are more.
bool append_plain(wire::RdbWriter& out, base::Bytes text, PieceCursor& at, size_t bytes_max) {
  if (at.words[1] == 0) {
    out.length(static_cast<uint64_t>(RdbNode::plain));
    if (text.size() <= kNodeCompressBytesMax) {
      out.string(text);
      return true;
    }
    out.length(text.size());
  }
  base::Bytes piece = text.substr(at.words[1], bytes_max);
  out.raw(piece);
  at.words[1] += piece.size();
  if (at.words[1] < text.size()) return false;
  at.words[1] = 0;
  return true;
}

// words[0]: the next node.
bool encode_nodes(const data::ListNodes& nodes, PieceCursor& at, wire::RdbWriter& out,
                  size_t bytes_max) {
  if (!at.begun) out.length(nodes.size());
  at.begun = true;
  size_t written = 0;
  std::string scratch;
  for (; at.words[0] < nodes.size(); ++at.words[0]) {
    if (written >= bytes_max) return false;
    const ListNode& node = nodes[at.words[0]];
    written += node.bytes();
    if (!node.plain()) {
      append_pack(out, node.view(scratch));
    } else if (!append_plain(out, base::Blob::view_of(node.blob()), at, bytes_max)) {
      return false;
    }
  }
  return true;
}

void push(List& list, base::Bytes text, const data::Packing& packing) {
  list.expect({&text, 1}, packing);
  list.push(ListEnd::tail, text, packing);
}

void push_items(List& list, const data::PackedItem& item, const data::Packing& packing) {
  char buffer[base::kIntTextMax];
  push(list, item.text(buffer), packing);
}

bool decode_elements(wire::RdbReader& in, const data::Packing& packing, List& list) {
  uint64_t count;
  if (!in.length(count)) return false;
  std::string scratch;
  for (uint64_t i = 0; i < count; ++i) {
    wire::RdbString element;
    if (!in.string(element, scratch)) return false;
    push(list, element.bytes, packing);
  }
  return true;
}

bool decode_ziplist(wire::RdbReader& in, const data::Packing& packing, List& list) {
  wire::RdbString block;
  std::string scratch;
  if (!in.string(block, scratch)) return false;
  if (!data::ZiplistReader::validate(block.bytes)) return in.fail("Ziplist integrity check failed");
  data::ZiplistReader reader(block.bytes);
  data::PackedItem item;
  Listpack pack;
  while (reader.next(item)) {
    if (pack.size_bytes() < kPackBytesMax && item.bytes.size() < kPackBytesMax) {
      if (!pack.append_item(item)) return in.fail("Ziplist too large");
      continue;
    }
    if (!pack.empty()) list.open_quicklist().append_pack(std::exchange(pack, {}));
    push_items(list, item, packing);
  }
  if (!pack.empty()) list.open_quicklist().append_pack(std::move(pack));
  return true;
}

bool decode_ziplists(wire::RdbReader& in, const data::Packing& packing, List& list) {
  uint64_t count;
  if (!in.length(count)) return false;
  for (uint64_t i = 0; i < count; ++i)
    if (!decode_ziplist(in, packing, list)) return false;
  return true;
}

bool decode_node(wire::RdbReader& in, const data::Packing& packing, List& list) {
  uint64_t container;
  wire::RdbString block;
  std::string scratch;
  if (!in.length(container)) return false;
  if (container != static_cast<uint64_t>(RdbNode::plain) &&
      container != static_cast<uint64_t>(RdbNode::packed))
    return in.fail("Quicklist integrity check failed");
  if (!in.string(block, scratch)) return false;
  if (container == static_cast<uint64_t>(RdbNode::plain)) {
    if (block.bytes.empty()) return in.fail("Quicklist integrity check failed");  // as Redis
    list.open_quicklist().append_plain(base::Blob::copy_of(block.bytes));
    return true;
  }
  if (!ListpackView::validate(block.bytes)) return in.fail("Listpack integrity check failed");
  ListpackView pack(block.bytes);
  if (pack.empty()) return true;  // as Redis: what an old bug left
  if (pack.size_bytes() <= kPackBytesMax) {
    list.open_quicklist().append_pack(Listpack::copy_of(pack.bytes()));
    return true;
  }
  for (auto at = pack.first(); at != ListpackView::kNone; at = pack.next(at))
    push_items(list, pack.item(at), packing);
  return true;
}

bool decode_nodes(wire::RdbReader& in, const data::Packing& packing, List& list) {
  uint64_t count;
  if (!in.length(count)) return false;
  for (uint64_t i = 0; i < count; ++i)
    if (!decode_node(in, packing, list)) return false;
  return true;
}

}  // namespace

bool rdb_type_of(const List&, unsigned, RdbType& type) {
  type = RdbType::list_quicklist_2;
  return true;
}

bool encode(const List& list, RdbType, PieceCursor& at, wire::RdbWriter& out, size_t bytes_max) {
  if (list.big()) return encode_nodes(list.quicklist().nodes(), at, out, bytes_max);
  bool any = !list.pack_view().empty();
  out.length(any);
  if (any) append_pack(out, list.pack_view());
  return true;
}

bool decode(wire::RdbReader& in, RdbType type, const DecodeOptions& options, List& list) {
  const data::Packing& packing = options.packing;
  bool read = false;
  switch (type) {
    case RdbType::list:
      read = decode_elements(in, packing, list);
      break;
    case RdbType::list_ziplist:
      read = decode_ziplist(in, packing, list);
      break;
    case RdbType::list_quicklist:
      read = decode_ziplists(in, packing, list);
      break;
    case RdbType::list_quicklist_2:
      read = decode_nodes(in, packing, list);
      break;
    default:
      return in.fail("not an encoding of a list");
  }
  if (read) list.settle_decoded(packing);
  return read;
}

}  // namespace quoll::persist
