package orlop.pod;

import com.fasterxml.jackson.core.JsonGenerator;
import inference.InferParameter;
import inference.ModelInferResponse;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Writes V2 answers: JSON, and behind it the outputs that were asked for as binary data. Pure.
 * Source: Open Inference Protocol, REST; Triton's binary tensor extension.
 */
final class RestWriter {
  static final String HEADER_LENGTH = "Inference-Header-Content-Length";

  private RestWriter() {}

  /**
   * @throws RestError when an output cannot travel in the form that was asked for
   */
  static RestReply reply(ModelInferResponse response, RestReader.Wanted asked) throws RestError {
    List<RestTensor> tensors = RestTensor.of(response);
    List<ByteBuffer> parts = new ArrayList<>();
    RestJson.Bytes out = new RestJson.Bytes(jsonBytes(tensors, asked));
    try (JsonGenerator json = RestJson.generator(out)) {
      json.writeStartObject();
      json.writeStringField("model_name", response.getModelName());
      if (!response.getModelVersion().isEmpty()) {
        json.writeStringField("model_version", response.getModelVersion());
      }
      if (!response.getId().isEmpty()) {
        json.writeStringField("id", response.getId());
      }
      if (response.getParametersCount() > 0) {
        json.writeObjectFieldStart("parameters");
        parameters(json, response.getParametersMap());
        json.writeEndObject();
      }
      json.writeArrayFieldStart("outputs");
      for (int i = 0; i < tensors.size(); i++) {
        RestTensor tensor = tensors.get(i);
        boolean there = response.getOutputs(i).containsParameters(Extended.REGION);
        boolean binary = !there && asked.binary(tensor.name());
        output(json, tensor, response.getOutputs(i).getParametersMap(), binary);
        if (binary) {
          parts.add(tensor.raw());
        }
      }
      json.writeEndArray();
      json.writeEndObject();
    } catch (IOException e) {
      throw new IllegalStateException("memory refused to be written", e);
    }
    if (parts.isEmpty()) {
      return new RestReply(200, RestReply.JSON, Map.of(), List.of(out.view()));
    }
    Map<String, String> headers = Map.of(HEADER_LENGTH, Integer.toString(out.size()));
    parts.addFirst(out.view());
    return new RestReply(200, "application/octet-stream", headers, parts);
  }

  private static int jsonBytes(List<RestTensor> tensors, RestReader.Wanted asked) {
    long bytes = 512;
    for (RestTensor tensor : tensors) {
      bytes += asked.binary(tensor.name()) ? 0 : 2L * tensor.raw().remaining();
    }
    return (int) Math.min(1 << 24, bytes);
  }

  private static void output(
      JsonGenerator json, RestTensor tensor, Map<String, InferParameter> parameters, boolean binary)
      throws IOException, RestError {
    json.writeStartObject();
    json.writeStringField("name", tensor.name());
    json.writeStringField("datatype", tensor.type().name());
    json.writeArrayFieldStart("shape");
    for (long dimension : tensor.shape()) {
      json.writeNumber(dimension);
    }
    json.writeEndArray();
    if (binary || !parameters.isEmpty()) {
      json.writeObjectFieldStart("parameters");
      parameters(json, parameters);
      if (binary) {
        json.writeNumberField("binary_data_size", tensor.raw().remaining());
      }
      json.writeEndObject();
    }
    if (!binary && !parameters.containsKey(Extended.REGION)) {
      json.writeArrayFieldStart("data");
      tensor.flat(json);
      json.writeEndArray();
    }
    json.writeEndObject();
  }

  private static void parameters(JsonGenerator json, Map<String, InferParameter> parameters)
      throws IOException {
    for (Map.Entry<String, InferParameter> entry : parameters.entrySet()) {
      json.writeFieldName(entry.getKey());
      InferParameter value = entry.getValue();
      switch (value.getParameterChoiceCase()) {
        case BOOL_PARAM -> json.writeBoolean(value.getBoolParam());
        case INT64_PARAM -> json.writeNumber(value.getInt64Param());
        case STRING_PARAM -> json.writeString(value.getStringParam());
        case DOUBLE_PARAM -> json.writeNumber(value.getDoubleParam());
        case UINT64_PARAM -> json.writeNumber(RestTensor.unsigned(value.getUint64Param()));
        case PARAMETERCHOICE_NOT_SET -> json.writeNull();
      }
    }
  }
}
