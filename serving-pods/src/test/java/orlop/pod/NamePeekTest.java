package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelMetadataRequest;
import io.netty.buffer.Unpooled;
import java.io.ByteArrayOutputStream;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * The peek agrees with the real parser. Method: well-formed messages of random content, then the
 * same with bytes changed, cut and joined; whatever the parser accepts, the peek reads alike.
 */
class NamePeekTest {
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
    assertEquals("a", modelName(join(first, tensor)));
    assertEquals("größe", modelName(join(first, tensor, last)));
    assertEquals("", modelName(tensor));
    assertEquals("", modelName(new byte[0]));
    assertEquals(
        "m", modelName(ModelMetadataRequest.newBuilder().setName("m").build().toByteArray()));
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
        assertEquals(expected, modelName(bytes));
      } catch (InvalidProtocolBufferException e) {
        throw new AssertionError("round " + round + ": the peek refuses what the parser reads", e);
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
        modelName(noise);
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
        () -> modelName(new byte[] {0x0a, 2, (byte) 0xc3, 0x28}));
  }

  @Test
  void inPiecesItFindsTheFirstNameWithoutWaitingForTensors() throws Exception {
    Random random = new Random(11);
    for (int round = 0; round < ROUNDS / 10; round++) {
      byte[] bytes = message(random);
      ModelInferRequest parsed = ModelInferRequest.parseFrom(bytes);
      NamePeek peek = new NamePeek();
      NamePeek.Found found = NamePeek.Found.MORE;
      int arrived = 0;
      while (found == NamePeek.Found.MORE) {
        arrived = Math.min(bytes.length, arrived + 1 + random.nextInt(5));
        found = peek.look(Unpooled.wrappedBuffer(bytes, 0, arrived), bytes.length);
      }
      if (arrived == bytes.length || found == NamePeek.Found.NONE) {
        assertEquals(parsed.getModelName(), peek.name());
      } else {
        assertEquals(NamePeek.Found.NAME, found);
        assertEquals(
            peek.name(),
            ModelInferRequest.parseFrom(java.util.Arrays.copyOf(bytes, peek.to())).getModelName());
      }
    }
    byte[] big =
        ModelInferRequest.newBuilder()
            .setModelName("m")
            .addRawInputContents(ByteString.copyFrom(new byte[100_000]))
            .build()
            .toByteArray();
    assertEquals(
        NamePeek.Found.NAME, new NamePeek().look(Unpooled.wrappedBuffer(big, 0, 10), big.length));
  }

  private static String modelName(byte[] message) throws InvalidProtocolBufferException {
    NamePeek peek = new NamePeek();
    assertNotEquals(
        NamePeek.Found.MORE, peek.look(Unpooled.wrappedBuffer(message), message.length));
    return peek.name();
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
