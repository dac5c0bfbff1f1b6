package orlop.pod;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import inference.LogSettingsRequest;
import inference.LogSettingsResponse;
import inference.TraceSettingRequest;
import io.grpc.StatusException;
import java.util.List;
import java.util.Map;

/** What callers may set in this pod, over REST: shared memory regions, log and trace settings. */
final class RestSettings {
  private final PodConfig config;
  private final ServerSettings settings;
  private final SharedMemory memory;

  RestSettings(PodConfig config, ServerSettings settings, SharedMemory memory) {
    this.config = config;
    this.settings = settings;
    this.memory = memory;
  }

  RestReply answer(RestRequest request, List<String> path) throws RestError {
    try {
      return switch (path.get(1)) {
        case "systemsharedmemory", "cudasharedmemory" -> memory(request, path);
        case "logging" -> log(request, path);
        default -> trace(request, path);
      };
    } catch (StatusException e) {
      throw RestError.of(e.getStatus());
    }
  }

  // ---- shared memory: .../[region/NAME/]VERB

  private RestReply memory(RestRequest request, List<String> path)
      throws RestError, StatusException {
    boolean named = path.size() == 5 && path.get(2).equals("region");
    if (!named && path.size() != 3) {
      throw RestFront.unknown(request);
    }
    String name = named ? path.get(3) : "";
    boolean cuda = path.get(1).equals("cudasharedmemory");
    return switch (path.getLast()) {
      case "status" -> {
        RestFront.only("GET", request);
        yield cuda ? RestJson.reply(200, RestJson.MAPPER.createArrayNode()) : status(name);
      }
      case "register" -> {
        RestFront.only("POST", request);
        if (cuda) {
          throw Front.noCuda(name).asException();
        }
        register(name, RestRepository.optional(request, config));
        yield RestJson.reply(200, RestJson.object());
      }
      case "unregister" -> {
        RestFront.only("POST", request);
        if (!cuda) {
          memory.unregister(name);
        } else if (!name.isEmpty()) {
          throw Front.noCuda(name).asException();
        }
        yield RestJson.reply(200, RestJson.object());
      }
      default -> throw RestFront.unknown(request);
    };
  }

  private RestReply status(String name) throws StatusException {
    ArrayNode regions = RestJson.MAPPER.createArrayNode();
    memory.status(name).getRegionsMap().values().forEach(one -> regions.add(RestJson.of(one)));
    return RestJson.reply(200, regions);
  }

  private void register(String name, ObjectNode body) throws RestError, StatusException {
    JsonNode key = body.path("key");
    if (!key.isTextual()) {
      throw RestError.bad("'key' must be a string");
    }
    memory.register(name, key.asText(), number(body, "offset", 0), number(body, "byte_size", -1));
  }

  private static long number(ObjectNode body, String key, long otherwise) throws RestError {
    JsonNode value = body.path(key);
    if (value.isMissingNode() && otherwise >= 0) {
      return otherwise;
    }
    if (!value.isIntegralNumber() || !value.canConvertToLong() || value.asLong() < 0) {
      throw RestError.bad("'" + key + "' must be an integer from 0");
    }
    return value.asLong();
  }

  // ---- log and traces: GET tells, POST changes and tells

  private static boolean changes(RestRequest request) throws RestError {
    if (request.method.equals("POST")) {
      return true;
    }
    RestFront.only("GET", request);
    return false;
  }

  private RestReply log(RestRequest request, List<String> path) throws RestError, StatusException {
    if (path.size() != 2) {
      throw RestFront.unknown(request);
    }
    LogSettingsRequest.Builder asked = LogSettingsRequest.newBuilder();
    if (changes(request)) {
      for (Map.Entry<String, JsonNode> each :
          RestRepository.optional(request, config).properties()) {
        asked.putSettings(each.getKey(), logValue(each.getKey(), each.getValue()));
      }
    }
    ObjectNode told = RestJson.object();
    for (var each : settings.log(asked.build()).getSettingsMap().entrySet()) {
      LogSettingsResponse.SettingValue value = each.getValue();
      switch (value.getParameterChoiceCase()) {
        case BOOL_PARAM -> told.put(each.getKey(), value.getBoolParam());
        case UINT32_PARAM -> told.put(each.getKey(), value.getUint32Param());
        default -> told.put(each.getKey(), value.getStringParam());
      }
    }
    return RestJson.reply(200, told);
  }

  private static LogSettingsRequest.SettingValue logValue(String key, JsonNode value)
      throws RestError {
    LogSettingsRequest.SettingValue.Builder asked = LogSettingsRequest.SettingValue.newBuilder();
    if (value.isBoolean()) {
      return asked.setBoolParam(value.asBoolean()).build();
    }
    if (value.isInt() && value.asInt() >= 0) {
      return asked.setUint32Param(value.asInt()).build();
    }
    if (value.isTextual()) {
      return asked.setStringParam(value.asText()).build();
    }
    throw RestError.bad("'" + key + "' must be true, false, a number from 0 or a string");
  }

  private RestReply trace(RestRequest request, List<String> path)
      throws RestError, StatusException {
    if (path.size() != 3 || !path.get(2).equals("setting")) {
      throw RestFront.unknown(request);
    }
    TraceSettingRequest.Builder asked = TraceSettingRequest.newBuilder();
    if (changes(request)) {
      for (Map.Entry<String, JsonNode> each :
          RestRepository.optional(request, config).properties()) {
        TraceSettingRequest.SettingValue.Builder value =
            TraceSettingRequest.SettingValue.newBuilder();
        if (each.getValue().isArray()) {
          each.getValue().forEach(one -> value.addValue(one.asText()));
        } else if (!each.getValue().isNull()) {
          value.addValue(each.getValue().asText());
        }
        asked.putSettings(each.getKey(), value.build());
      }
    }
    ObjectNode told = RestJson.object();
    for (var each : settings.trace(asked.build()).getSettingsMap().entrySet()) {
      if (each.getKey().equals("trace_level")) {
        each.getValue().getValueList().forEach(told.putArray(each.getKey())::add);
      } else {
        told.put(each.getKey(), each.getValue().getValue(0));
      }
    }
    return RestJson.reply(200, told);
  }
}
