package orlop.bridge;

import com.google.protobuf.InvalidProtocolBufferException;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import java.util.Locale;

/** How a record's value holds a request, and its result the response. */
enum ValueFormat {
  /** The messages of the Open Inference Protocol in protobuf; the default. */
  PROTOBUF {
    @Override
    ModelInferRequest decode(byte[] value) throws BadRecordException {
      try {
        return ModelInferRequest.parseFrom(value);
      } catch (InvalidProtocolBufferException e) {
        throw new BadRecordException(
            Outcome.Reason.DECODE,
            "value of "
                + value.length
                + " bytes is not a protobuf ModelInferRequest: "
                + e.getMessage());
      }
    }

    @Override
    byte[] encode(ModelInferResponse response) {
      return response.toByteArray();
    }
  },

  /** The protocol's JSON. */
  JSON {
    @Override
    ModelInferRequest decode(byte[] value) throws BadRecordException {
      return JsonMessages.decode(value);
    }

    @Override
    byte[] encode(ModelInferResponse response) {
      return JsonMessages.encode(response);
    }
  };

  abstract ModelInferRequest decode(byte[] value) throws BadRecordException;

  abstract byte[] encode(ModelInferResponse response);

  /**
   * @param contentType the record's header; empty stands for protobuf
   */
  static ValueFormat of(String contentType) throws BadRecordException {
    int parameters = contentType.indexOf(';');
    String type =
        (parameters < 0 ? contentType : contentType.substring(0, parameters))
            .strip()
            .toLowerCase(Locale.ROOT);
    return switch (type) {
      case "", "application/x-protobuf", "application/protobuf" -> PROTOBUF;
      case "application/json" -> JSON;
      default ->
          throw new BadRecordException(
              Outcome.Reason.DECODE,
              "content-type is "
                  + contentType
                  + ", expected application/x-protobuf or application/json");
    };
  }
}
