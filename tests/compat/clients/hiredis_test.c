/* Basic flows of hiredis against the server on port argv[1]; argv[2] is the port of one that wants
 * the password `secret`. Prints a line per test and `N passed, N failed`. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int passed, failed;

static void expect(int condition, const char* what) {
  if (condition) {
    passed++;
    printf("ok   hiredis: %s\n", what);
  } else {
    failed++;
    printf("FAIL hiredis: %s\n", what);
  }
}

static redisContext* dial(int port) {
  struct timeval timeout = {5, 0};
  redisContext* c = redisConnectWithTimeout("127.0.0.1", port, timeout);
  if (c == NULL || c->err) {
    printf("FAIL hiredis: cannot connect: %s\n0 passed, 1 failed\n", c ? c->errstr : "no memory");
    exit(1);
  }
  redisSetTimeout(c, timeout);
  return c;
}

static int is_status(redisReply* r, const char* text) {
  int yes = r && r->type == REDIS_REPLY_STATUS && !strcmp(r->str, text);
  if (r) freeReplyObject(r);
  return yes;
}
static int is_integer(redisReply* r, long long value) {
  int yes = r && r->type == REDIS_REPLY_INTEGER && r->integer == value;
  if (r) freeReplyObject(r);
  return yes;
}
static int is_string(redisReply* r, const char* text, size_t length) {
  int yes = r && r->type == REDIS_REPLY_STRING && r->len == length && !memcmp(r->str, text, length);
  if (r) freeReplyObject(r);
  return yes;
}
static int is_error(redisReply* r, const char* start) {
  int yes = r && r->type == REDIS_REPLY_ERROR && !strncmp(r->str, start, strlen(start));
  if (r) freeReplyObject(r);
  return yes;
}
static int is_nil(redisReply* r) {
  int yes = r && r->type == REDIS_REPLY_NIL;
  if (r) freeReplyObject(r);
  return yes;
}

static void strings(redisContext* c) {
  expect(is_status(redisCommand(c, "FLUSHALL"), "OK"), "FLUSHALL");
  expect(is_status(redisCommand(c, "SET %s %s", "key", "hello world"), "OK"), "SET");
  expect(is_string(redisCommand(c, "GET key"), "hello world", 11), "GET");
  expect(is_status(redisCommand(c, "SET %b %b", "k\0y", (size_t)3, "v\0\r\n", (size_t)4), "OK"), "SET binary");
  expect(is_string(redisCommand(c, "GET %b", "k\0y", (size_t)3), "v\0\r\n", 4), "GET binary");
  expect(is_nil(redisCommand(c, "GET nokey")), "GET of nothing");
  expect(is_integer(redisCommand(c, "INCRBY n %d", 41), 41), "INCRBY");
  expect(is_error(redisCommand(c, "INCR key"), "ERR value is not an integer"), "an error reply");
  expect(is_error(redisCommand(c, "NOSUCH a"), "ERR unknown command"), "an unknown command");
  size_t size = 5 * 1000 * 1000;
  char* big = malloc(size);
  memset(big, 'b', size);
  expect(is_status(redisCommand(c, "SET big %b", big, size), "OK"), "SET of 5 MB");
  expect(is_string(redisCommand(c, "GET big"), big, size), "GET of 5 MB");
  free(big);
}

static void expiry(redisContext* c) {
  expect(is_status(redisCommand(c, "SET e v PX 40"), "OK"), "SET PX");
  usleep(100 * 1000);
  expect(is_nil(redisCommand(c, "GET e")), "an expired key");
  expect(is_integer(redisCommand(c, "EXPIRE key 100"), 1), "EXPIRE");
  redisReply* r = redisCommand(c, "TTL key");
  expect(r && r->integer > 90 && r->integer <= 100, "TTL");
  freeReplyObject(r);
}

static void pipeline(redisContext* c) {
  int right = 1, i;
  for (i = 0; i < 10000; i++) redisAppendCommand(c, "INCR pipelined");
  for (i = 0; i < 10000; i++) {
    redisReply* r;
    if (redisGetReply(c, (void**)&r) != REDIS_OK) {
      right = 0;
      break;
    }
    if (r->integer != i + 1) right = 0;
    freeReplyObject(r);
  }
  expect(right, "a pipeline of 10,000");
}

static void transactions(redisContext* c, redisContext* other) {
  expect(is_status(redisCommand(c, "MULTI"), "OK"), "MULTI");
  expect(is_status(redisCommand(c, "SET t 1"), "QUEUED"), "QUEUED");
  expect(is_status(redisCommand(c, "INCR t"), "QUEUED"), "QUEUED again");
  redisReply* r = redisCommand(c, "EXEC");
  expect(r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->integer == 2, "EXEC");
  freeReplyObject(r);
  expect(is_status(redisCommand(c, "WATCH t"), "OK"), "WATCH");
  expect(is_status(redisCommand(other, "SET t 9"), "OK"), "a change by another");
  expect(is_status(redisCommand(c, "MULTI"), "OK"), "MULTI after WATCH");
  expect(is_status(redisCommand(c, "SET t 10"), "QUEUED"), "SET in it");
  expect(is_nil(redisCommand(c, "EXEC")), "EXEC is aborted");
}

static void pubsub(redisContext* c, redisContext* other) {
  redisReply* r = redisCommand(c, "SUBSCRIBE news");
  expect(r && r->type == REDIS_REPLY_ARRAY && r->elements == 3 && !strcmp(r->element[0]->str, "subscribe"), "SUBSCRIBE");
  freeReplyObject(r);
  expect(is_integer(redisCommand(other, "PUBLISH news hello"), 1), "PUBLISH");
  r = NULL;
  expect(redisGetReply(c, (void**)&r) == REDIS_OK && r->elements == 3 && !strcmp(r->element[2]->str, "hello"), "the message");
  if (r) freeReplyObject(r);
  r = redisCommand(c, "UNSUBSCRIBE news");
  expect(r && r->elements == 3 && r->element[2]->integer == 0, "UNSUBSCRIBE");
  freeReplyObject(r);
}

static void scan(redisContext* c) {
  int i, seen = 0;
  char cursor[32] = "0";
  freeReplyObject(redisCommand(c, "FLUSHDB"));
  for (i = 0; i < 300; i++) freeReplyObject(redisCommand(c, "SET scan:%d v", i));
  do {
    redisReply* r = redisCommand(c, "SCAN %s COUNT 13", cursor);
    snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
    seen += (int)r->element[1]->elements;
    freeReplyObject(r);
  } while (strcmp(cursor, "0"));
  expect(seen >= 300, "SCAN sees every key");
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  redisContext *c = dial(atoi(argv[1])), *other = dial(atoi(argv[1])), *locked = dial(atoi(argv[2]));
  strings(c);
  expiry(c);
  pipeline(c);
  transactions(c, other);
  pubsub(c, other);
  scan(c);
  expect(is_error(redisCommand(locked, "GET x"), "NOAUTH"), "NOAUTH");
  expect(is_error(redisCommand(locked, "AUTH wrong"), "WRONGPASS"), "WRONGPASS");
  expect(is_status(redisCommand(locked, "AUTH secret"), "OK"), "AUTH");
  expect(is_nil(redisCommand(locked, "GET x")), "GET after AUTH");
  expect(is_status(redisCommand(other, "QUIT"), "OK"), "QUIT");
  expect(redisCommand(other, "PING") == NULL && redisReconnect(other) == REDIS_OK &&
             is_status(redisCommand(other, "PING"), "PONG"), "reconnect");
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
