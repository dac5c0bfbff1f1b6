package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.awssdk.services.s3.model.S3Exception;

/** Goal: what lies under the server is what an S3 client gets. Method: the AWS client, signed. */
class EmbeddedS3Test {
  @BeforeAll
  static void quiet() {
    Logging.start(false);
  }

  @Test
  void servesFilesPutBeneathItAndObjectsPutThroughIt(@TempDir Path dir) throws Exception {
    Path file = dir.resolve("source.bin");
    var content = new byte[100_000];
    for (int i = 0; i < content.length; i++) {
      content[i] = (byte) (i * 31);
    }
    Files.write(file, content);
    try (var s3 = EmbeddedS3.start(dir.resolve("s3"), "key", "secret");
        var client = client(s3, "secret")) {
      s3.createBucket("models");
      s3.put("models", "a/b/model.onnx", file);
      assertArrayEquals(
          content,
          client.getObjectAsBytes(r -> r.bucket("models").key("a/b/model.onnx")).asByteArray());
      assertArrayEquals(
          Arrays.copyOfRange(content, 1000, 2000),
          client
              .getObjectAsBytes(
                  r -> r.bucket("models").key("a/b/model.onnx").range("bytes=1000-1999"))
              .asByteArray());
      client.putObject(r -> r.bucket("models").key("a/c.txt"), RequestBody.fromString("hello"));
      var head = client.headObject(r -> r.bucket("models").key("a/b/model.onnx"));
      assertEquals(content.length, head.contentLength());
      List<String> keys =
          client.listObjectsV2(r -> r.bucket("models").prefix("a/")).contents().stream()
              .map(o -> o.key())
              .sorted()
              .toList();
      assertEquals(List.of("a/b/model.onnx", "a/c.txt"), keys);
    }
    try (var s3 = EmbeddedS3.start(dir.resolve("s3"), "key", "secret");
        var client = client(s3, "secret")) {
      assertEquals(
          "hello", client.getObjectAsBytes(r -> r.bucket("models").key("a/c.txt")).asUtf8String());
    }
  }

  @Test
  void refusesAWrongSecret(@TempDir Path dir) throws Exception {
    try (var s3 = EmbeddedS3.start(dir, "key", "secret");
        var client = client(s3, "guess")) {
      s3.createBucket("models");
      var error =
          assertThrows(S3Exception.class, () -> client.listObjectsV2(r -> r.bucket("models")));
      assertEquals(403, error.statusCode());
    }
  }

  @Test
  void refusesNamesThatLeaveItsDirectory(@TempDir Path dir) throws Exception {
    Path file = Files.writeString(dir.resolve("x"), "x");
    try (var s3 = EmbeddedS3.start(dir.resolve("s3"), "key", "secret")) {
      assertThrows(IllegalArgumentException.class, () -> s3.createBucket("../models"));
      assertThrows(IllegalArgumentException.class, () -> s3.put("models", "../../y", file));
    }
  }

  private static S3Client client(EmbeddedS3 s3, String secret) {
    return S3Client.builder()
        .endpointOverride(s3.endpoint())
        .region(Region.US_EAST_1)
        .forcePathStyle(true)
        .credentialsProvider(
            StaticCredentialsProvider.create(AwsBasicCredentials.create(s3.accessKey(), secret)))
        .build();
  }
}
