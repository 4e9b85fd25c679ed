# Sidekiq with its queues in the server: a worker process, jobs from other queues, scheduled and
# failing ones, bulk, the dead, and what its web page would show.
# Usage: ruby sidekiq_jobs.rb PORT. Sidekiq itself loads it, too (port in SIDEKIQ_PORT).
require "sidekiq"
require "sidekiq/api"

Redis.silence_deprecations = true
PORT = Integer(ENV["SIDEKIQ_PORT"] || ARGV.fetch(0))
Sidekiq.configure_server do |config|
  config.redis = { url: "redis://127.0.0.1:#{PORT}/3" }
  config.options[:poll_interval_average] = 1
  config.logger.level = Logger::ERROR
end
Sidekiq.configure_client { |config| config.redis = { url: "redis://127.0.0.1:#{PORT}/3" } }

class Count
  include Sidekiq::Worker
  def perform(key, by)
    Sidekiq.redis { |redis| redis.hincrby("counts", key, by) }
  end
end

class Late
  include Sidekiq::Worker
  sidekiq_options queue: "low"
  def perform(key, due)
    Sidekiq.redis { |redis| redis.set(key, Time.now.to_f - due) }
  end
end

class Shaky
  include Sidekiq::Worker
  sidekiq_options retry: 2
  sidekiq_retry_in { 1 }
  def perform(key)
    tries = Sidekiq.redis { |redis| redis.incr(key) }
    raise "not yet" if tries < 2
  end
end

class Hopeless
  include Sidekiq::Worker
  sidekiq_options retry: 0
  def perform(key)
    raise "never"
  end
end

class Slow
  include Sidekiq::Worker
  def perform(key)
    Sidekiq.redis { |redis| redis.set("#{key}:begun", 1) }
    sleep 0.5
    Sidekiq.redis { |redis| redis.set(key, "done") }
  end
end

def value(key)
  Sidekiq.redis { |redis| redis.get(key) }
end

def count(key)
  Sidekiq.redis { |redis| redis.hget("counts", key) }.to_i
end

def eventually(what)
  600.times do
    return if yield
    sleep 0.05
  end
  raise "#{what}: it never came true"
end

def equal(got, expected)
  raise "#{got.inspect}, expected #{expected.inspect}" unless got == expected
end

TESTS = {
  "one job" => lambda {
    Count.perform_async("one", 5)
    eventually("the job ran") { count("one") == 5 }
  },
  "many jobs, in bulk and one by one" => lambda {
    Sidekiq::Client.push_bulk("class" => Count, "args" => (1..500).map { |i| ["many", i] })
    100.times { Count.perform_async("many", 1) }
    eventually("all ran once") { count("many") == 500 * 501 / 2 + 100 }
    eventually("the queue is empty") { Sidekiq::Queue.new.size.zero? }
  },
  "a scheduled job of another queue" => lambda {
    due = Time.now.to_f + 1
    Late.perform_at(due, "late", due)
    equal(Sidekiq::ScheduledSet.new.map { |job| job.args.first }, ["late"])
    eventually("it ran") { value("late") }
    raise "it ran too early" if value("late").to_f < 0
    equal(Sidekiq::ScheduledSet.new.size, 0)
  },
  "a job that is tried again" => lambda {
    Shaky.perform_async("shaky")
    eventually("the first try failed") { Sidekiq::RetrySet.new.any? { |job| job.klass == "Shaky" } }
    eventually("the second succeeded") { value("shaky") == "2" }
    eventually("no retry is left") { Sidekiq::RetrySet.new.size.zero? }
  },
  "a job that dies, and is brought back" => lambda {
    Hopeless.perform_async("x")
    eventually("it is dead") { Sidekiq::DeadSet.new.size == 1 }
    dead = Sidekiq::DeadSet.new.first
    equal([dead.klass, dead["error_message"]], ["Hopeless", "never"])
    dead.retry
    eventually("it died again") { Sidekiq::DeadSet.new.any? { |job| job.jid == dead.jid } }
    Sidekiq::DeadSet.new.clear
  },
  "deleting what waits" => lambda {
    Count.perform_in(3600, "never", 1)
    job = Sidekiq::ScheduledSet.new.find { |one| one.args == ["never", 1] }
    equal(Sidekiq::ScheduledSet.new.find_job(job.jid).jid, job.jid)
    raise "it was not deleted" unless job.delete
    equal(Sidekiq::ScheduledSet.new.size, 0)
  },
  "what the web page shows" => lambda {
    eventually("every job was counted") { Sidekiq::Stats.new.processed >= 604 }
    eventually("and every failure") { Sidekiq::Stats.new.failed == 3 }
    equal(Sidekiq::Stats::History.new(1).processed.values.sum, Sidekiq::Stats.new.processed)
    eventually("the process beats") { Sidekiq::ProcessSet.new.size == 1 }
    process = Sidekiq::ProcessSet.new.first
    equal([process["concurrency"], process["queues"].sort], [3, %w[default low]])
    equal(Sidekiq.redis_info["redis_version"].nil?, false)
  },
  "a process that is told to stop finishes what it does" => lambda {
    Slow.perform_async("slow")
    eventually("it has begun") { value("slow:begun") }  # one only fetched goes back to its queue
    Process.kill("TERM", $worker)
    Process.wait($worker)
    $worker = nil
    equal([value("slow"), Sidekiq::Queue.new.size], ["done", 0])
  },
}.freeze

def run
  passed = failed = 0
  environment = { "SIDEKIQ_PORT" => PORT.to_s }
  $worker = spawn(environment, "sidekiq", "-r", File.expand_path(__FILE__), "-c", "3", "-q", "default", "-q", "low",
                  %i[out err] => File::NULL)
  TESTS.each do |name, test|
    test.call
    passed += 1
    puts "ok   sidekiq: #{name}"
  rescue StandardError => e
    failed += 1
    puts "FAIL sidekiq: #{name}: #{e.class}: #{e.message}"
  end
  puts "#{passed} passed, #{failed} failed"
  failed.zero?
ensure
  Process.kill("KILL", $worker) && Process.wait($worker) if $worker
end

exit(run) if $PROGRAM_NAME == __FILE__
