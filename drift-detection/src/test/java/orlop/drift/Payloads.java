package orlop.drift;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.protobuf.ByteString;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import orlop.api.PayloadEvent;

/** Payload events as a serving pod logs them, for tests. */
final class Payloads {
  private Payloads() {}

  /** A request with one FP32 tensor {@code x} of shape [rows, columns], in raw contents. */
  static byte[] raw(double[]... rows) {
    ByteBuffer data =
        ByteBuffer.allocate(4 * rows.length * rows[0].length).order(ByteOrder.LITTLE_ENDIAN);
    for (double[] row : rows) {
      for (double value : row) {
        data.putFloat((float) value);
      }
    }
    return ModelInferRequest.newBuilder()
        .addInputs(tensor("x", "FP32", rows.length, rows[0].length))
        .addRawInputContents(ByteString.copyFrom(data.flip()))
        .build()
        .toByteArray();
  }

  /** The same request in typed contents. */
  static byte[] typed(double[] row) {
    InferTensorContents.Builder contents = InferTensorContents.newBuilder();
    for (double value : row) {
      contents.addFp32Contents((float) value);
    }
    return ModelInferRequest.newBuilder()
        .addInputs(tensor("x", "FP32", 1, row.length).setContents(contents))
        .build()
        .toByteArray();
  }

  static InferInputTensor.Builder tensor(String name, String datatype, long... shape) {
    InferInputTensor.Builder tensor =
        InferInputTensor.newBuilder().setName(name).setDatatype(datatype);
    for (long size : shape) {
      tensor.addShape(size);
    }
    return tensor;
  }

  static Headers headers(PayloadEvent.Kind kind, String model, String id) {
    RecordHeaders headers = new RecordHeaders();
    headers.add(PayloadEvent.TYPE, kind.type.getBytes(UTF_8));
    headers.add(PayloadEvent.ID, id.getBytes(UTF_8));
    headers.add(PayloadEvent.MODEL_ID, model.getBytes(UTF_8));
    headers.add(PayloadEvent.CONTENT_TYPE, PayloadEvent.PROTOBUF.getBytes(UTF_8));
    return headers;
  }
}
