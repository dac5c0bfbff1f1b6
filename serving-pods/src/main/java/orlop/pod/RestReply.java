package orlop.pod;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;

/**
 * What a REST request is answered with.
 *
 * @param headers beside content type, length and encoding
 * @param parts the body, one after the other
 */
record RestReply(int status, String type, Map<String, String> headers, List<ByteBuffer> parts) {
  static final String JSON = "application/json";

  static RestReply json(int status, byte[] body) {
    return new RestReply(status, JSON, Map.of(), List.of(ByteBuffer.wrap(body)));
  }

  long bytes() {
    long sum = 0;
    for (ByteBuffer part : parts) {
      sum += part.remaining();
    }
    return sum;
  }
}
