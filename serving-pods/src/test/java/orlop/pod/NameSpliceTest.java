package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelMetadataRequest;
import java.io.ByteArrayOutputStream;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * The splice agrees with the real parser. Method: well-formed messages of random content, then the
 * same with bytes changed, cut and joined; whatever the parser accepts, the splice reads alike.
 */
class NameSpliceTest {
  private static final int ROUNDS = 30_000;

  @Test
  void readsTheNameWhereverItStands() throws Exception {
    byte[] first = ModelInferRequest.newBuilder().setModelName("a").build().toByteArray();
    byte[] tensor =
        ModelInferRequest.newBuilder()
            .setId("7")
            .addRawInputContents(ByteString.copyFrom(new byte[100_000]))
            .build()
            .toByteArray();
    byte[] last = ModelInferRequest.newBuilder().setModelName("größe").build().toByteArray();
    assertEquals("a", NameSplice.modelName(join(first, tensor)));
    assertEquals("größe", NameSplice.modelName(join(first, tensor, last)));
    assertEquals("", NameSplice.modelName(tensor));
    assertEquals("", NameSplice.modelName(new byte[0]));
    assertEquals(
        "m",
        NameSplice.modelName(ModelMetadataRequest.newBuilder().setName("m").build().toByteArray()));
  }

  @Test
  void whatTheParserAcceptsIsReadAlike() {
    Random random = new Random(42);
    int accepted = 0;
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      byte[] bytes = message(random);
      if (random.nextInt(4) > 0) {
        bytes = damaged(random, bytes);
      }
      String expected;
      try {
        expected = ModelInferRequest.parseFrom(bytes).getModelName();
      } catch (InvalidProtocolBufferException e) {
        refused++;
        continue;
      }
      accepted++;
      try {
        assertEquals(expected, NameSplice.modelName(bytes));
      } catch (InvalidProtocolBufferException e) {
        throw new AssertionError(
            "round " + round + ": the splice refuses what the parser reads", e);
      }
    }
    assertTrue(accepted > ROUNDS / 10 && refused > ROUNDS / 10, accepted + " / " + refused);
  }

  @Test
  void neverFailsOtherThanByRefusing() {
    Random random = new Random(7);
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      byte[] noise = new byte[random.nextInt(40)];
      random.nextBytes(noise);
      try {
        NameSplice.modelName(noise);
      } catch (InvalidProtocolBufferException e) {
        refused++;
        assertTrue(String.valueOf(e.getMessage()).contains("at byte"));
      }
    }
    assertTrue(refused > 0);
  }

  @Test
  void aNameThatIsNotTextIsRefused() {
    assertThrows(
        InvalidProtocolBufferException.class,
        () -> NameSplice.modelName(new byte[] {0x0a, 2, (byte) 0xc3, 0x28}));
  }

  private static byte[] message(Random random) {
    ModelInferRequest.Builder builder = ModelInferRequest.newBuilder();
    if (random.nextInt(8) > 0) {
      builder.setModelName(name(random));
    }
    if (random.nextBoolean()) {
      builder.setModelVersion("1").setId(name(random));
    }
    for (int i = random.nextInt(3); i > 0; i--) {
      builder.addInputs(
          ModelInferRequest.InferInputTensor.newBuilder()
              .setName(name(random))
              .addShape(random.nextInt())
              .setContents(InferTensorContents.newBuilder().addFp32Contents(random.nextFloat())));
    }
    for (int i = random.nextInt(3); i > 0; i--) {
      byte[] raw = new byte[random.nextInt(300)];
      random.nextBytes(raw);
      builder.addRawInputContents(ByteString.copyFrom(raw));
    }
    byte[] bytes = builder.build().toByteArray();
    return random.nextInt(10) == 0 ? join(bytes, message(random)) : bytes;
  }

  private static String name(Random random) {
    StringBuilder name = new StringBuilder();
    for (int i = random.nextInt(12); i > 0; i--) {
      name.appendCodePoint(random.nextInt(10) == 0 ? 0x1F600 : 'a' + random.nextInt(26));
    }
    return name.toString();
  }

  private static byte[] damaged(Random random, byte[] bytes) {
    byte[] copy = bytes.clone();
    for (int i = random.nextInt(3); i > 0 && copy.length > 0; i--) {
      copy[random.nextInt(copy.length)] = (byte) random.nextInt();
    }
    return random.nextInt(4) == 0
        ? java.util.Arrays.copyOf(copy, random.nextInt(copy.length + 1))
        : copy;
  }

  private static byte[] join(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }
}
