# host.rb: the same as host.c from Ruby, with nothing but its standard library: Fiddle and JSON.
# `ruby host.rb LIBRARY ADDRESS [SETTINGS]`, where LIBRARY is the path of libagentd.so.1.
require "fiddle"
require "json"

module Native
  # `need_gvl: false` lets Ruby's other threads go on while one waits.
  FUNCTIONS = {
    agentd_open: [%i[voidp voidp voidp voidp], :int],
    agentd_close: [%i[voidp], :void],
    agentd_call: [%i[voidp voidp voidp size_t long_long voidp voidp], :int],
    agentd_stream_open: [%i[voidp voidp voidp size_t voidp voidp], :int],
    agentd_stream_next: [%i[voidp long_long voidp voidp], :int],
    agentd_stream_free: [%i[voidp], :void],
    agentd_reply_data: [%i[voidp voidp], :voidp],
    agentd_reply_free: [%i[voidp], :void],
    agentd_error_reason: [%i[voidp], :voidp],
    agentd_error_message: [%i[voidp], :voidp],
    agentd_error_free: [%i[voidp], :void]
  }.freeze
  TYPES = { voidp: Fiddle::TYPE_VOIDP, size_t: Fiddle::TYPE_SIZE_T, int: Fiddle::TYPE_INT,
            long_long: Fiddle::TYPE_LONG_LONG, void: Fiddle::TYPE_VOID }.freeze
  OK = 1
  FAILED = -1

  def self.load(path)
    library = Fiddle.dlopen(path)
    FUNCTIONS.each do |name, (arguments, result)|
      function = Fiddle::Function.new(library[name.to_s], arguments.map { TYPES[_1] },
                                      TYPES[result], need_gvl: false)
      define_singleton_method(name) { |*given| function.call(*given) }
    end
  end
end

class Refused < StandardError; end

# A daemon: `call` answers with a hash, `stream` yields hashes, nil when nothing came in time.
class Agentd
  def initialize(address, settings: nil)
    # agentd_options: size, encoding, reserved, and three texts; JSON is the default encoding.
    options = [40, 0, 0, 0, 0, settings].pack("QLLQQp")
    @client = obtain { |client, error| Native.agentd_open(address, options, client, error) }
  end

  def call(method, request, timeout_ms: 60_000)
    body = JSON.generate(request)
    take(obtain do |reply, error|
      Native.agentd_call(@client, method, body, body.bytesize, timeout_ms, reply, error)
    end)
  end

  def stream(method, request, timeout_ms: 100)
    body = JSON.generate(request)
    stream = obtain do |made, error|
      Native.agentd_stream_open(@client, method, body, body.bytesize, made, error)
    end
    loop do
      status = nil
      reply = obtain do |made, error|
        status = Native.agentd_stream_next(stream, timeout_ms, made, error)
      end
      break if status == 2

      yield(status == Native::OK ? take(reply) : nil)
    end
  ensure
    Native.agentd_stream_free(stream || 0)
  end

  def close = Native.agentd_close(@client)

  private

  # Call with room for a result and an error; return the result or raise the error.
  def obtain
    result, error = Array.new(2) { "\0" * Fiddle::SIZEOF_VOIDP }
    return result.unpack1("Q") unless yield(result, error) == Native::FAILED

    error = error.unpack1("Q")
    reason, message = Native.agentd_error_reason(error), Native.agentd_error_message(error)
    words = "#{reason}: #{message}"
    Native.agentd_error_free(error)
    raise Refused, words
  end

  def take(reply)
    JSON.parse(Native.agentd_reply_data(reply, 0).to_s)
  ensure
    Native.agentd_reply_free(reply)
  end
end

library, address, settings = ARGV
Native.load(library)
agentd = Agentd.new(address, settings: settings)
schema = { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } } }
tool = { name: "toolsets/math/tools/add", description: "Adds two integers.",
         effect: "EFFECT_CLASS_READ_ONLY", inputSchemaJson: JSON.generate(schema) }
run = nil
agentd.stream("agentd.v1.ToolHostService/WatchCalls",
              { host: "calculator", toolset: "toolsets/math", tools: [tool] }) do |message|
  message&.fetch("instructions")&.each do |instruction|
    invoke = instruction["invoke"] or next
    arguments = JSON.parse(invoke["argumentsJson"])
    result = { resultJson: (arguments["a"] + arguments["b"]).to_s }
    completion = invoke.slice("call", "attempt", "leaseToken").merge(result)
    agentd.call("agentd.v1.ToolHostService/CompleteCalls", { completions: [completion] })
  end
  # The first message is the welcome: the tool is known, and a run may use it.
  run ||= agentd.call("agentd.v1.RunService/CreateRun",
                      { run: { goal: "How much is 19 and 23?", tools: ["math/*"] } })["run"]
  run = agentd.call("agentd.v1.RunService/GetRun", { name: run["name"] })["run"]
  break if %w[RUN_STATE_SUCCEEDED RUN_STATE_FAILED].include?(run["state"])
end
puts run["output"]
agentd.close
