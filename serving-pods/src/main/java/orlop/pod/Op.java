package orlop.pod;

import inference.GRPCInferenceServiceGrpc;
import io.grpc.Drainable;
import io.grpc.KnownLength;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/** A call that needs a model in memory and therefore travels to the pod that holds one. */
enum Op {
  INFER("ModelInfer"),
  METADATA("ModelMetadata");

  /** The V2 method with its messages left encoded. */
  @SuppressWarnings("ImmutableEnumChecker") // Immutable in fact, not by annotation.
  final MethodDescriptor<byte[], byte[]> method;

  /** As metrics and logs name it. */
  final String label;

  Op(String name) {
    label = GRPCInferenceServiceGrpc.SERVICE_NAME + "/" + name;
    method =
        MethodDescriptor.<byte[], byte[]>newBuilder()
            .setType(MethodDescriptor.MethodType.UNARY)
            .setFullMethodName(label)
            .setRequestMarshaller(Bytes.INSTANCE)
            .setResponseMarshaller(Bytes.INSTANCE)
            .build();
  }

  /** Passes messages through as they are: one copy from the transport in, one out. */
  private enum Bytes implements MethodDescriptor.Marshaller<byte[]> {
    INSTANCE;

    @Override
    public InputStream stream(byte[] value) {
      return new Drain(value);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        if (!(stream instanceof KnownLength)) {
          // Compressed: the length shows at the end, and the library watches the limit.
          return stream.readAllBytes();
        }
        // The transport knows the length, so this reads into an array of just that size.
        byte[] message = new byte[stream.available()];
        int read = stream.readNBytes(message, 0, message.length);
        if (read < message.length || stream.read() >= 0) {
          throw Status.INTERNAL
              .withDescription("a message's length differs from what its frame says")
              .asRuntimeException();
        }
        return message;
      } catch (IOException e) {
        throw Status.INTERNAL
            .withDescription("a message could not be read: " + e.getMessage())
            .withCause(e)
            .asRuntimeException();
      }
    }
  }

  private static final class Drain extends ByteArrayInputStream implements Drainable {
    Drain(byte[] value) {
      super(value);
    }

    @Override
    public int drainTo(OutputStream target) throws IOException {
      int length = count - pos;
      target.write(buf, pos, length);
      pos = count;
      return length;
    }
  }
}
