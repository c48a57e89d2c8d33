// Classify a bitmap on Android with LiteRT. In app/build.gradle.kts:
//
//   dependencies { implementation("com.google.ai.edge.litert:litert:2.+") }
//   android { androidResources { noCompress += "tflite" } }
//
// and the model in app/src/main/assets/. It takes the bytes of RGB pixels and gives probabilities.

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import kotlin.math.roundToInt

/** [cropFraction] is the share of the picture's centre that the model looks at, in its metadata. */
class Classifier(
    context: Context,
    file: String,
    private val height: Int,
    private val width: Int,
    private val cropFraction: Float,
) : AutoCloseable {
  private val model =
      CompiledModel.create(context.assets, file, CompiledModel.Options(Accelerator.CPU))
  private val inputs = model.createInputBuffers()
  private val outputs = model.createOutputBuffers()

  /** Returns the number of the most probable class and its probability. */
  fun classify(bitmap: Bitmap): Pair<Int, Float> {
    val scale = minOf(bitmap.width / width.toFloat(), bitmap.height / height.toFloat())
    val cropWidth = (scale * cropFraction * width).roundToInt().coerceIn(1, bitmap.width)
    val cropHeight = (scale * cropFraction * height).roundToInt().coerceIn(1, bitmap.height)
    val crop =
        Bitmap.createBitmap(
            bitmap,
            (bitmap.width - cropWidth) / 2,
            (bitmap.height - cropHeight) / 2,
            cropWidth,
            cropHeight,
        )
    // Android looks at four pixels only: of a large picture most would not count.
    var scaled = crop
    while (scaled.width >= 2 * width && scaled.height >= 2 * height) {
      scaled = Bitmap.createScaledBitmap(scaled, scaled.width / 2, scaled.height / 2, true)
    }
    scaled = Bitmap.createScaledBitmap(scaled, width, height, true)
    val argb = IntArray(width * height)
    scaled.getPixels(argb, 0, width, 0, 0, width, height)
    val bytes = ByteArray(argb.size * 3)
    argb.forEachIndexed { i, pixel ->
      bytes[3 * i] = (pixel shr 16).toByte()
      bytes[3 * i + 1] = (pixel shr 8).toByte()
      bytes[3 * i + 2] = pixel.toByte()
    }
    inputs[0].writeInt8(bytes)
    model.run(inputs, outputs)
    val probabilities = outputs[0].readFloat()
    val best = probabilities.indices.maxBy { probabilities[it] }
    return best to probabilities[best]
  }

  override fun close() {
    inputs.forEach { it.close() }
    outputs.forEach { it.close() }
    model.close()
  }
}
